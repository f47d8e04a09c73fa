#include "base/env.h"

#include <cstdlib>

namespace tw::base::env {
namespace {

std::optional<std::string> read(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> tokenworks_home() {
  return read("TOKENWORKS_HOME");
}
std::optional<std::string> xdg_data_home() {
  return read("XDG_DATA_HOME");
}
std::optional<std::string> xdg_state_home() {
  return read("XDG_STATE_HOME");
}
std::optional<std::string> xdg_cache_home() {
  return read("XDG_CACHE_HOME");
}
std::optional<std::string> home() {
  return read("HOME");
}
std::optional<std::string> api_key() {
  return read("TOKENWORKS_API_KEY");
}
std::optional<std::string> isa() {
  return read("TOKENWORKS_ISA");
}
std::optional<std::string> hf_token() {
  return read("HF_TOKEN");
}
std::optional<std::string> hf_endpoint() {
  return read("HF_ENDPOINT");
}
std::optional<std::string> ssl_cert_file() {
  return read("SSL_CERT_FILE");
}

std::optional<std::string> term() {
  return read("TERM");
}

const std::vector<Variable>& variables() {
  static const std::vector<Variable> all = {
      {"TOKENWORKS_HOME", "folder of the model store (default: $XDG_DATA_HOME/tokenworks)"},
      {"XDG_DATA_HOME", "where the user's data goes (default: $HOME/.local/share)"},
      {"XDG_STATE_HOME", "where the history of run goes (default: $HOME/.local/state)"},
      {"XDG_CACHE_HOME",
       "where packed weights go if a model's folder cannot be written (default: $HOME/.cache)"},
      {"HOME", "the user's folder"},
      {"TOKENWORKS_API_KEY", "key that clients of serve must send (default: none)", true},
      {"TOKENWORKS_ISA", "forces the kernel set: ref, avx2, avx512, amx (default: the best the CPU has)"},
      {"HF_TOKEN", "token for models of the hub that need a login", true},
      {"HF_ENDPOINT", "address of the hub (default: https://huggingface.co)"},
      {"SSL_CERT_FILE", "certificates (PEM) to trust for downloads (default: the system's)"},
      {"TERM", "the kind of the terminal; run writes no colours if it is dumb"},
  };
  return all;
}

std::optional<std::string> shown_value(const Variable& variable) {
  std::optional<std::string> value = read(variable.name);
  if (value && variable.secret) return "(set)";
  return value;
}

}  // namespace tw::base::env
