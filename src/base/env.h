// Every environment variable the program reads: one documented function each, and a list for `tokenworks
// info`. No other file may call getenv (the proxy variables are libcurl's own reading, EDITRC is libedit's).
// A variable that is set to the empty string counts as not set. Thread-safe as long as nobody changes the
// environment.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tw::base::env {

/// TOKENWORKS_HOME: the folder of the model store. Default: $XDG_DATA_HOME/tokenworks.
std::optional<std::string> tokenworks_home();
/// XDG_DATA_HOME: where the user's data goes. Default: $HOME/.local/share.
std::optional<std::string> xdg_data_home();
/// XDG_STATE_HOME: where the history of `run` goes. Default: $HOME/.local/state.
std::optional<std::string> xdg_state_home();
/// XDG_CACHE_HOME: where what can be made again goes. Default: $HOME/.cache.
std::optional<std::string> xdg_cache_home();
/// HOME: the user's folder.
std::optional<std::string> home();
/// TOKENWORKS_API_KEY: the key that clients of `serve` must send. Default: none is asked for. Secret.
std::optional<std::string> api_key();
/// TOKENWORKS_ISA: forces the kernel set (ref, avx2, avx512, ...). Default: the best that the CPU has.
std::optional<std::string> isa();
/// HF_TOKEN: sent to the hub, for models that need a login. Secret.
std::optional<std::string> hf_token();
/// HF_ENDPOINT: the hub's address. Default: https://huggingface.co
std::optional<std::string> hf_endpoint();
/// SSL_CERT_FILE: certificates (PEM) to trust for downloads. Default: the system's.
std::optional<std::string> ssl_cert_file();
/// TERM: the kind of the terminal. libedit reads it too.
std::optional<std::string> term();

struct Variable {
  std::string_view name;
  std::string_view help;  ///< one sentence
  bool secret = false;    ///< its value must not be shown
};

/// All of the above, for `tokenworks info` and the documentation.
const std::vector<Variable>& variables();

/// The value to show: itself, "(set)" for a secret, or nullopt when it is not set.
std::optional<std::string> shown_value(const Variable& variable);

}  // namespace tw::base::env
