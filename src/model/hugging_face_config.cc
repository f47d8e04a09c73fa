// config.json of the families, as transformers reads it: its defaults for absent keys, and its keys from
// before and after version 5.
#include <algorithm>
#include <initializer_list>

#include "io/tensor_file.h"
#include "model/families.h"
#include "model/family_table.h"
#include "model/json_fields.h"
#include "model/palette.h"

namespace tw::model {
namespace {

using base::Code;
using base::Json;
using spec::ModelConfig;
using spec::RopeScalingKind;

base::Error unsupported(const std::string& where, std::string why) {
  return {Code::kUnsupported, std::move(why), where};
}

base::Status read_scaling(const Json& scaling, const std::string& where, ModelConfig& c) {
  JsonFields fields(scaling, where);
  std::string kind = "default";
  fields.read("type", kind);
  fields.read("rope_type", kind);
  fields.read("rope_theta", c.rope_theta);
  spec::RopeScaling& s = c.rope_scaling;
  const bool llama3 = kind == "llama3";
  fields.read("factor", s.factor, llama3 || kind == "linear");
  fields.read("low_freq_factor", s.low_frequency_factor, llama3);
  fields.read("high_freq_factor", s.high_frequency_factor, llama3);
  fields.read("original_max_position_embeddings", s.original_context, llama3);
  TW_RETURN_IF_ERROR(fields.status());
  if (llama3)
    s.kind = RopeScalingKind::kLlama3;
  else if (kind == "linear")
    s.kind = RopeScalingKind::kLinear;
  else if (kind != "default")
    return unsupported(where, fmt::format("rope scaling {} is not supported", io::quote_text(kind)));
  return base::Ok{};
}

base::Status read_rope(const Json& json, const std::string& where, ModelConfig& c) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) continue;
    if (!it->is_object()) return base::Error{Code::kCorrupt, fmt::format("\"{}\" is no object", key), where};
    TW_RETURN_IF_ERROR(read_scaling(*it, where, c));
  }
  return base::Ok{};
}

/// Keys that must be absent or have one of these values: what the forward is built for.
using Expected = std::pair<const char*, std::vector<Json>>;

base::Status refuse_unexpected(const Json& json, const std::string& where,
                               std::initializer_list<Expected> all) {
  for (const auto& [key, expected] : all) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) continue;
    if (std::find(expected.begin(), expected.end(), *it) != expected.end()) continue;
    return unsupported(where, fmt::format("\"{}\" is {}, but only {} is supported", key,
                                          io::quote_text(base::dump_json(*it), 40), expected[0].dump()));
  }
  return base::Ok{};
}

base::Status refuse_unknown_features(const Json& json, const std::string& where, const Family& family) {
  if (family.gpt2) {
    TW_RETURN_IF_ERROR(refuse_unexpected(json, where,
                                         {{"activation_function", {"gelu_new", "gelu_pytorch_tanh"}},
                                          {"scale_attn_weights", {true}},
                                          {"scale_attn_by_inverse_layer_idx", {false}},
                                          {"add_cross_attention", {false}}}));
  } else {
    TW_RETURN_IF_ERROR(refuse_unexpected(json, where,
                                         {{"hidden_act", {"silu"}},
                                          {"attention_bias", {false}},
                                          {"mlp_bias", {false}},
                                          {"partial_rotary_factor", {1.0}}}));
  }
  // Every layer has experts, and a window there is by sliding_window alone.
  if (family.experts)
    TW_RETURN_IF_ERROR(refuse_unexpected(json, where,
                                         {{"decoder_sparse_step", {1}},
                                          {"mlp_only_layers", {Json::array()}},
                                          {"qkv_bias", {family.qkv_bias}},
                                          {"use_sliding_window", {false}}}));
  const auto quantized = json.find("quantization_config");
  if (quantized == json.end() || quantized->is_null()) return base::Ok{};
  std::string method = "an unnamed method";
  JsonFields(*quantized, where).read("quant_method", method);
  if (method == kPaletteMethod) return base::Ok{};
  return unsupported(
      where, fmt::format("the weights are quantized by {}; use a folder with F32, F16 or BF16 weights, "
                         "or a GGUF file",
                         io::quote_text(method)));
}

/// How many layers have the window, by layer_types or else, from the last layer on, by max_window_layers.
base::Result<std::int64_t> windowed_layers(const Json& json, const std::string& where, const ModelConfig& c) {
  const auto types = json.find("layer_types");
  if (types == json.end() || types->is_null()) {
    JsonFields fields(json, where);
    std::int64_t first = 28;  // transformers' default
    fields.read("max_window_layers", first);
    TW_RETURN_IF_ERROR(fields.status());
    return c.layers - std::clamp<std::int64_t>(first, 0, c.layers);
  }
  std::int64_t windowed = 0;
  for (const Json& type : *types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return unsupported(where, "\"layer_types\" holds " + io::quote_text(base::dump_json(type), 40) +
                                    ", which is not supported");
    }
    windowed += type == "sliding_attention" ? 1 : 0;
  }
  if (!types->is_array() || static_cast<std::int64_t>(types->size()) != c.layers) {
    return base::Error{Code::kCorrupt, fmt::format("\"layer_types\" is no list of {} layers", c.layers),
                       where};
  }
  return windowed;
}

base::Status read_window(const Json& json, const std::string& where, const Family& family, ModelConfig& c) {
  JsonFields fields(json, where);
  bool used = !family.window_by_layer;
  if (!used) fields.read("use_sliding_window", used);
  if (!used || !family.has_window()) return fields.status();
  if (!json.contains("sliding_window")) c.sliding_window = family.window;
  fields.read("sliding_window", c.sliding_window);
  TW_RETURN_IF_ERROR(fields.status());
  if (!family.window_by_layer || c.sliding_window == 0) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const std::int64_t windowed, windowed_layers(json, where, c));
  if (windowed == 0) c.sliding_window = 0;
  if (windowed == 0 || windowed == c.layers) return base::Ok{};
  return unsupported(
      where, fmt::format("{} of {} layers have a sliding window; only all or none is supported", windowed,
                         c.layers));
}

base::Status read_sizes(const Json& json, const std::string& where, const Family& family, ModelConfig& c) {
  JsonFields fields(json, where);
  fields.read("_name_or_path", c.name);
  fields.read("num_hidden_layers", c.layers, true);
  fields.read("hidden_size", c.width, true);
  fields.read("intermediate_size", c.ffn_width, true);
  fields.read("num_attention_heads", c.heads, true);
  fields.read("vocab_size", c.vocab, true);
  fields.read("max_position_embeddings", c.context, true);
  TW_RETURN_IF_ERROR(fields.status());
  const auto missing = [&](const char* key, std::int64_t family_default, std::int64_t otherwise) {
    return !json.contains(key) && family_default > 0 ? family_default : otherwise;
  };
  c.kv_heads = missing("num_key_value_heads", family.kv_heads, c.heads);
  c.head_dim = missing("head_dim", family.head_dim, c.heads > 0 ? c.width / c.heads : 0);
  c.norm_epsilon = 1e-6;
  fields.read("num_key_value_heads", c.kv_heads);
  fields.read("head_dim", c.head_dim);
  fields.read("rms_norm_eps", c.norm_epsilon);
  fields.read("rope_theta", c.rope_theta);
  fields.read("tie_word_embeddings", c.tied_embeddings);
  return fields.status();
}

base::Status read_experts(const Json& json, const std::string& where, ModelConfig& c) {
  JsonFields fields(json, where);
  spec::Experts& e = c.experts;
  const bool qwen = c.architecture != "mixtral";
  fields.read("num_local_experts", e.count, !qwen);
  fields.read("num_experts", e.count, qwen && !fields.has("num_local_experts"));
  fields.read("num_experts_per_tok", e.chosen, true);
  e.width = c.ffn_width;
  e.normed = !qwen;
  if (qwen) {
    fields.read("moe_intermediate_size", e.width, true);
    fields.read("norm_topk_prob", e.normed);
  }
  if (e.shared > 0) fields.read("shared_expert_intermediate_size", e.shared_width, true);
  return fields.status();
}

/// GPT-2's own keys.
base::Status read_gpt2_sizes(const Json& json, const std::string& where, ModelConfig& c) {
  JsonFields fields(json, where);
  fields.read("_name_or_path", c.name);
  fields.read("n_layer", c.layers, true);
  fields.read("n_embd", c.width, true);
  fields.read("n_head", c.heads, true);
  fields.read("vocab_size", c.vocab, true);
  fields.read("n_positions", c.context, true);
  TW_RETURN_IF_ERROR(fields.status());
  if (c.width < 1 || c.width > 1 << 20 || c.heads < 1 || c.width % c.heads != 0) {
    return base::Error{Code::kCorrupt,
                       fmt::format("\"n_embd\" ({}) is not divided by \"n_head\" ({})", c.width, c.heads),
                       where};
  }
  c.kv_heads = c.heads;
  c.head_dim = c.width / c.heads;
  c.ffn_width = 4 * c.width;
  c.tied_embeddings = true;
  fields.read("n_inner", c.ffn_width);
  fields.read("layer_norm_epsilon", c.norm_epsilon);
  fields.read("tie_word_embeddings", c.tied_embeddings);
  return fields.status();
}

}  // namespace

base::Result<ModelConfig> config_from_hugging_face(const Json& json, const std::string& where) {
  if (!json.is_object()) return base::Error{Code::kCorrupt, "is not a JSON object", where};
  JsonFields fields(json, where);
  std::string type;
  fields.read("model_type", type, true);
  TW_RETURN_IF_ERROR(fields.status());
  const Family* family = nullptr;
  for (const Family& f : families()) {
    if (type == f.hugging_face) family = &f;
  }
  if (family == nullptr) return unknown_family(where, "\"model_type\"", type);
  TW_RETURN_IF_ERROR(refuse_unknown_features(json, where, *family));
  ModelConfig c;
  apply(*family, c);
  if (family->gpt2) {
    TW_RETURN_IF_ERROR(read_gpt2_sizes(json, where, c));
    return validated(std::move(c), where);
  }
  TW_RETURN_IF_ERROR(read_sizes(json, where, *family, c));
  if (family->experts) TW_RETURN_IF_ERROR(read_experts(json, where, c));
  TW_RETURN_IF_ERROR(read_rope(json, where, c));
  // Before what counts the layers.
  if (auto valid = validated(c, where); !valid.ok()) return valid;
  TW_RETURN_IF_ERROR(read_window(json, where, *family, c));
  return validated(std::move(c), where);
}

}  // namespace tw::model
