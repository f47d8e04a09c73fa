#include "model/adapter_config.h"

#include <algorithm>
#include <cmath>

#include "io/tensor_file.h"
#include "model/adapter.h"
#include "model/json_fields.h"

namespace tw::model {
namespace {

using base::Code;
using base::Json;

template <typename T>
T pattern_of(const std::map<std::string, T>& pattern, std::string_view module, T otherwise) {
  for (const auto& [name, value] : pattern) {
    if (module_matches(module, name)) return value;
  }
  return otherwise;
}

/// Keys that say nothing when they have one of these values, or null or are absent. What else they may say
/// changes what is computed.
base::Status refuse_other_kinds(const Json& json, const std::string& where) {
  const std::pair<const char*, std::vector<Json>> kPlain[] = {
      {"peft_type", {"LORA"}},
      {"bias", {"none"}},
      {"use_dora", {false}},
      {"use_qalora", {false}},
      {"use_bdlora", {false}},
      {"lora_bias", {false}},
      {"fan_in_fan_out", {false}},
      {"modules_to_save", {Json::array()}},
      {"target_parameters", {Json::array()}},
      {"trainable_token_indices", {Json::array()}},
      {"layer_replication", {Json::array()}},
      {"alora_invocation_tokens", {Json::array()}},
      {"arrow_config", {}},
      {"kasa_config", {}},
      {"monteclora_config", {}},
      {"velora_config", {}},
      // Others change the base model's weights before they learn, and would have to here too.
      {"init_lora_weights", {true, false, "gaussian", "orthogonal", "eva"}}};
  for (const auto& [key, plain] : kPlain) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null() || std::ranges::find(plain, *it) != plain.end()) continue;
    return base::Error{Code::kUnsupported,
                       fmt::format("\"{}\" is {}: only plain LoRA adapters are known here", key,
                                   io::quote_text(base::dump_json(*it), 40)),
                       where};
  }
  return base::Ok{};
}

/// peft takes the names of a pattern for regular expressions: those with other signs than a name's are
/// refused. A ^ before it changes nothing here, but that the whole name is meant.
template <typename T, typename Check>
base::Status read_pattern(const Json& json, const char* key, const std::string& where, const Check& check,
                          std::map<std::string, T>& out) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return base::Ok{};
  if (!it->is_object()) return base::Error{Code::kCorrupt, fmt::format("\"{}\" is no object", key), where};
  for (const auto& [name, value] : it->items()) {
    const bool plain = !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '.' || c == '_';
    });
    if (!plain) {
      return base::Error{Code::kUnsupported,
                         fmt::format("\"{}\" has the pattern {}, but only names of modules are known here",
                                     key, io::quote_text(name)),
                         where};
    }
    if (!value.is_number() || !check(value.template get<double>())) {
      return base::Error{Code::kCorrupt,
                         fmt::format("\"{}\" has {} for {}", key, io::quote_text(base::dump_json(value), 40),
                                     io::quote_text(name)),
                         where};
    }
    out[name] = static_cast<T>(value.template get<double>());
  }
  return base::Ok{};
}

bool is_rank(double x) {
  return x >= 1 && x <= kMostRank && x == std::floor(x);
}

bool is_alpha(double x) {
  return std::isfinite(x) && std::fabs(x) < 1e6;
}

/// A list of names, or one text: a name, a regular expression or "all-linear". The tensors say what is
/// adapted.
base::Status read_targets(const Json& json, const std::string& where, std::vector<std::string>& out) {
  const auto it = json.find("target_modules");
  if (it == json.end() || it->is_null() || it->is_string()) return base::Ok{};
  const bool names =
      it->is_array() && std::ranges::all_of(*it, [](const Json& name) { return name.is_string(); });
  if (!names) return base::Error{Code::kCorrupt, "\"target_modules\" is no list of names", where};
  out = it->get<std::vector<std::string>>();
  return base::Ok{};
}

}  // namespace

bool module_matches(std::string_view module, std::string_view name) {
  if (!module.ends_with(name)) return false;
  return module.size() == name.size() || module[module.size() - name.size() - 1] == '.';
}

std::int64_t AdapterConfig::rank_of(std::string_view module) const {
  return pattern_of(rank_pattern, module, rank);
}

double AdapterConfig::alpha_of(std::string_view module) const {
  return pattern_of(alpha_pattern, module, alpha);
}

double AdapterConfig::scale_of(std::string_view module, std::int64_t rank) const {
  const auto r = static_cast<double>(rank);
  return alpha_of(module) / (rank_stabilised ? std::sqrt(r) : r);
}

bool AdapterConfig::targets_module(std::string_view module) const {
  return std::ranges::any_of(targets, [&](const std::string& name) { return module_matches(module, name); });
}

base::Result<AdapterConfig> read_adapter_config(const Json& json, const std::string& where) {
  if (!json.is_object()) return base::Error{Code::kCorrupt, "is no JSON object", where};
  AdapterConfig config;
  JsonFields fields(json, where);
  std::string kind;
  fields.read("peft_type", kind, true);
  fields.read("r", config.rank, true);
  fields.read("lora_alpha", config.alpha, true);
  fields.read("use_rslora", config.rank_stabilised);
  fields.read("base_model_name_or_path", config.base_model);
  TW_RETURN_IF_ERROR(fields.status());
  TW_RETURN_IF_ERROR(refuse_other_kinds(json, where));
  if (!is_rank(static_cast<double>(config.rank)))
    fields.fail("r", fmt::format("is {}, outside 1 to {}", config.rank, kMostRank));
  if (!is_alpha(config.alpha)) fields.fail("lora_alpha", fmt::format("is {}", config.alpha));
  TW_RETURN_IF_ERROR(fields.status());
  TW_RETURN_IF_ERROR(read_targets(json, where, config.targets));
  TW_RETURN_IF_ERROR(read_pattern(json, "rank_pattern", where, is_rank, config.rank_pattern));
  TW_RETURN_IF_ERROR(read_pattern(json, "alpha_pattern", where, is_alpha, config.alpha_pattern));
  return config;
}

}  // namespace tw::model
