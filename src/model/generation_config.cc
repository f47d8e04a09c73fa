#include "model/generation_config.h"

#include <limits>

#include "model/json_fields.h"

namespace tw::model {
namespace {

using base::Json;

constexpr double kMaxInt32 = std::numeric_limits<std::int32_t>::max();

/// "eos_token_id" is a number, a list of them, or absent.
base::Result<std::vector<std::int32_t>> read_end_tokens(const Json& json, const std::string& where) {
  std::vector<std::int32_t> tokens;
  const Json eos = json.is_object() && json.contains("eos_token_id") ? json["eos_token_id"] : Json();
  if (eos.is_null()) return tokens;
  const Json list = eos.is_array() ? eos : Json::array({eos});
  for (const Json& token : list) {
    const Json item = {{"eos_token_id", token}};
    JsonFields fields(item, where);
    tokens.emplace_back();
    fields.read("eos_token_id", tokens.back(), true);
    TW_RETURN_IF_ERROR(fields.status());
  }
  return tokens;
}

base::Result<GenerationDefaults> read_defaults(const Json& json, const std::string& where) {
  GenerationDefaults d;
  JsonFields fields(json, where);
  bool sampled = true;
  fields.read("do_sample", sampled);
  fields.read("max_new_tokens", d.max_new_tokens, 1, kMaxInt32);
  fields.read("repetition_penalty", d.repetition_penalty, 1e-3, 1e3);
  // What plays a part in sampling only counts only where sampling is on, as in transformers.
  if (sampled) {
    fields.read("temperature", d.temperature, 0, 1e3);
    fields.read("top_p", d.top_p, 0, 1);
    fields.read("min_p", d.min_p, 0, 1);
    fields.read("typical_p", d.typical_p, 0, 1);
    fields.read("top_k", d.top_k, -1, kMaxInt32);
  }
  if (d.top_k && *d.top_k < 0) d.top_k = 0;  // both say "all"
  TW_RETURN_IF_ERROR(fields.status());
  return d;
}

}  // namespace

base::Result<GenerationConfig> read_generation_config(const Json& generation, const Json& config,
                                                      const std::string& folder) {
  const std::string where = folder + "/generation_config.json";
  if (!generation.is_null() && !generation.is_object())
    return base::Error{base::Code::kCorrupt, "is not a JSON object", where};
  GenerationConfig result;
  TW_ASSIGN_OR_RETURN(result.defaults, read_defaults(generation, where));
  const bool own = !generation.is_null();
  TW_ASSIGN_OR_RETURN(result.end_tokens,
                      read_end_tokens(own ? generation : config, own ? where : folder + "/config.json"));
  return result;
}

}  // namespace tw::model
