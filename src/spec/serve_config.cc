#include "spec/serve_config.h"

#include <cmath>

#include "base/affinity.h"

namespace tw::spec {
namespace {

constexpr std::size_t kMostAdapterName = 512;  // as long as a request's model field

base::Status in_range(const char* flag, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return base::Ok{};
  return base::error(base::Code::kInvalidArgument, "--{} is {}, but must be {} to {}", flag, value, low,
                     high);
}

base::Status one_of(const char* flag, const std::string& value, std::initializer_list<const char*> allowed) {
  std::string list;
  for (const char* name : allowed) {
    if (value == name) return base::Ok{};
    list += list.empty() ? name : std::string(", ") + name;
  }
  return base::error(base::Code::kInvalidArgument, "--{} is \"{}\", but must be one of: {}", flag, value,
                     list);
}

constexpr std::pair<const char*, base::DType> kKvTypes[] = {{"f16", base::DType::kF16},
                                                            {"bf16", base::DType::kBF16},
                                                            {"int8", base::DType::kI8},
                                                            {"f32", base::DType::kF32}};

}  // namespace

base::Result<base::DType> parse_kv_type(const std::string& name) {
  for (const auto& [known, type] : kKvTypes) {
    if (name == known) return type;
  }
  return base::error(base::Code::kInvalidArgument, "--kv-type is \"{}\", but must be f16, bf16, int8 or f32",
                     name);
}

std::string kv_type_name(base::DType type) {
  for (const auto& [name, known] : kKvTypes) {
    if (type == known) return name;
  }
  return {};
}

base::Status check_kv_memory(double gib) {
  if (gib >= 0 && gib <= kMaxKvMemory) return base::Ok{};  // a NaN is neither
  return base::error(base::Code::kInvalidArgument, "--kv-memory is {}, but must be 0 to {} GiB", gib,
                     kMaxKvMemory);
}

base::Result<NamedPath> parse_lora(const std::string& value) {
  const std::size_t at = value.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == value.size() || at > kMostAdapterName) {
    return base::error(base::Code::kInvalidArgument,
                       "--lora is \"{}\", but must be NAME=PATH with a name of at most {} bytes", value,
                       kMostAdapterName);
  }
  return NamedPath{value.substr(0, at), value.substr(at + 1)};
}

base::Status ServeConfig::validate() const {
  TW_RETURN_IF_ERROR(in_range("port", port, 0, 65535));
  TW_RETURN_IF_ERROR(in_range("ctx", ctx, 0, std::int64_t{1} << 30));
  TW_RETURN_IF_ERROR(in_range("max-queue", max_queue, 0, 1 << 20));
  TW_RETURN_IF_ERROR(in_range("max-batch", max_batch, 1, 1024));
  TW_RETURN_IF_ERROR(in_range("max-step-tokens", max_step_tokens, 1, 512));
  TW_RETURN_IF_ERROR(in_range("threads", threads, 0, 1024));
  if (!cpus.empty()) {
    if (auto list = base::parse_cpu_list(cpus); !list.ok()) return list.error();
  }
  TW_RETURN_IF_ERROR(in_range("drain-seconds", drain_seconds, 0, 86400));
  TW_RETURN_IF_ERROR(parse_kv_type(kv_type));
  TW_RETURN_IF_ERROR(one_of("prompt-type", prompt_type, {"auto", "int8"}));
  TW_RETURN_IF_ERROR(one_of("speculate", speculate, {"lookup", "off"}));
  TW_RETURN_IF_ERROR(in_range("draft-tokens", draft_tokens, 0, 15));
  if (draft_tokens > 0 && draft_model.empty()) {
    return base::error(
        base::Code::kInvalidArgument,
        "--draft-tokens says how many tokens a draft model guesses: name one by --draft-model");
  }
  for (const std::string& adapter : lora) TW_RETURN_IF_ERROR(parse_lora(adapter));
  TW_RETURN_IF_ERROR(one_of("packed-weights", packed_weights, {"auto", "off"}));
  TW_RETURN_IF_ERROR(one_of("log-format", log_format, {"text", "json"}));
  TW_RETURN_IF_ERROR(one_of("log-level", log_level, {"trace", "debug", "info", "warn", "error", "off"}));
  TW_RETURN_IF_ERROR(check_kv_memory(kv_memory));
  if (!std::isfinite(decode_stretch) || decode_stretch < 0 || decode_stretch > 1e6) {
    return base::error(base::Code::kInvalidArgument, "--decode-stretch is {}, but must be 0 to 1000000",
                       decode_stretch);
  }
  if (tls_cert.empty() != tls_key.empty()) {
    return base::error(base::Code::kInvalidArgument,
                       "--tls-cert and --tls-key go together: give both or none");
  }
  return base::Ok{};
}

}  // namespace tw::spec
