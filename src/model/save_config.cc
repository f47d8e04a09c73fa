// A ModelConfig as its family's config.json, which config_from_hugging_face reads back.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/save_parts.h"
#include "model/transformer.h"

namespace tw::model {
namespace {

using base::Code;
using base::OrderedJson;
using spec::ModelConfig;
using spec::RopeScaling;
using spec::RopeScalingKind;

/// The class of transformers.
std::string class_of(std::string_view family) {
  if (family == "gpt2") return "GPT2LMHeadModel";
  if (family == "qwen2_moe") return "Qwen2MoeForCausalLM";
  if (family == "qwen3_moe") return "Qwen3MoeForCausalLM";
  std::string name(family);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name + "ForCausalLM";
}

/// Llama 3's scaling that gives these factors: GGUF files have nothing else. All published models divide
/// between wavelengths of a quarter and all of the context they were first trained with.
std::optional<RopeScaling> llama3_scaling(const ModelConfig& c) {
  ModelConfig guess = c;
  guess.rope_factors.clear();
  guess.rope_scaling = {.kind = RopeScalingKind::kLlama3,
                        .factor = *std::max_element(c.rope_factors.begin(), c.rope_factors.end()),
                        .low_frequency_factor = 1,
                        .high_frequency_factor = 4};
  for (double context = 16; context <= 1 << 20; context *= 2) {
    guess.rope_scaling.original_context = context;
    const std::vector<float> factors = llama3_factors(guess);
    const bool same = std::equal(factors.begin(), factors.end(), c.rope_factors.begin(), c.rope_factors.end(),
                                 [](float a, float b) { return std::fabs(a - b) <= 1e-5F * std::fabs(b); });
    if (same) return guess.rope_scaling;
  }
  return std::nullopt;
}

base::Result<OrderedJson> rope_scaling(const ModelConfig& c) {
  RopeScaling s = c.rope_scaling;
  if (!c.rope_factors.empty()) {
    const std::optional<RopeScaling> found = llama3_scaling(c);
    if (!found || s.kind != RopeScalingKind::kNone)
      return base::error(Code::kUnsupported,
                         "the file's rope_freqs.weight are not Llama 3's, and config.json "
                         "has no place for others");
    s = *found;
  }
  if (s.kind == RopeScalingKind::kNone) return OrderedJson(nullptr);
  if (s.kind == RopeScalingKind::kLinear) return OrderedJson{{"rope_type", "linear"}, {"factor", s.factor}};
  return OrderedJson{{"rope_type", "llama3"},
                     {"factor", s.factor},
                     {"low_freq_factor", s.low_frequency_factor},
                     {"high_freq_factor", s.high_frequency_factor},
                     {"original_max_position_embeddings", static_cast<std::int64_t>(s.original_context)}};
}

void add_window(const Family& family, const ModelConfig& c, OrderedJson& json) {
  const bool windowed = c.sliding_window > 0;
  if (!family.has_window()) return;
  json["sliding_window"] = windowed ? OrderedJson(c.sliding_window) : OrderedJson(nullptr);
  if (!family.window_by_layer) return;
  json["use_sliding_window"] = windowed;
  json["max_window_layers"] = windowed ? 0 : c.layers;
  json["layer_types"] = std::vector<std::string>(static_cast<std::size_t>(c.layers),
                                                 windowed ? "sliding_attention" : "full_attention");
}

const char* torch_type(base::DType type) {
  return type == base::DType::kBF16 ? "bfloat16" : type == base::DType::kF16 ? "float16" : "float32";
}

template <typename T>
OrderedJson or_null(const std::optional<T>& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

}  // namespace

base::Result<const Family*> family_to_save(const ModelConfig& c) {
  for (const Family& family : families()) {
    // Llama's own files have no window; Mistral is the same with one.
    const bool named =
        c.architecture == family.hugging_face || (c.architecture == "llama" && c.sliding_window > 0 &&
                                                  std::string_view(family.hugging_face) == "mistral");
    const bool windows = c.sliding_window == 0 || family.has_window();
    const bool fits = c.qkv_bias == family.qkv_bias && c.qk_norm == family.qk_norm &&
                      (c.experts.count > 0) == family.experts && c.experts.dense_layers == 0 &&
                      (c.experts.shared > 0) == family.shared_expert;
    if (named && windows && fits) return &family;
  }
  return base::error(Code::kUnsupported,
                     "no file of the family {} has biases ({}), QK-norm ({}), a window ({}) and experts ({}) "
                     "like this model",
                     io::quote_text(c.architecture), c.qkv_bias, c.qk_norm, c.sliding_window,
                     c.experts.count);
}

std::vector<float> llama3_factors(const ModelConfig& c) {
  if (c.rope_scaling.kind != RopeScalingKind::kLlama3) return {};
  ModelConfig plain = c;
  plain.rope_scaling = {};
  const std::vector<float> scaled = rope_inverse_frequencies(c), unscaled = rope_inverse_frequencies(plain);
  std::vector<float> factors;
  factors.reserve(scaled.size());
  for (std::size_t i = 0; i < scaled.size(); ++i) factors.push_back(unscaled[i] / scaled[i]);
  return factors;
}

namespace {

void add_gpt2_sizes(const ModelConfig& c, OrderedJson& json) {
  json["n_embd"] = c.width;
  json["n_inner"] = c.ffn_width;
  json["n_layer"] = c.layers;
  json["n_head"] = c.heads;
  json["n_positions"] = c.context;
  json["layer_norm_epsilon"] = c.norm_epsilon;
  json["activation_function"] = "gelu_new";
  for (const char* part : {"attn_pdrop", "embd_pdrop", "resid_pdrop"}) json[part] = 0.0;
}

void add_llama_sizes(const ModelConfig& c, const OrderedJson& scaling, OrderedJson& json) {
  json["hidden_size"] = c.width;
  json["intermediate_size"] = c.ffn_width;
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["num_key_value_heads"] = c.kv_heads;
  json["head_dim"] = c.head_dim;
  json["max_position_embeddings"] = c.context;
  json["rms_norm_eps"] = c.norm_epsilon;
  json["rope_theta"] = c.rope_theta;
  json["rope_scaling"] = scaling;
  json["hidden_act"] = "silu";
  json["attention_dropout"] = 0.0;
}

void add_experts(const ModelConfig& c, OrderedJson& json) {
  const bool qwen = c.architecture != "mixtral";
  json[qwen ? "num_experts" : "num_local_experts"] = c.experts.count;
  json["num_experts_per_tok"] = c.experts.chosen;
  json["output_router_logits"] = false;
  if (!qwen) {
    json["intermediate_size"] = c.experts.width;
    return;
  }
  json["moe_intermediate_size"] = c.experts.width;
  if (c.experts.shared > 0) json["shared_expert_intermediate_size"] = c.experts.shared_ffn();
  json["norm_topk_prob"] = c.experts.normed;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = OrderedJson::array();
}

}  // namespace

base::Result<OrderedJson> hugging_face_config(const ModelConfig& c, const text::TokenizerSpec& tokenizer,
                                              base::DType type) {
  TW_ASSIGN_OR_RETURN(const Family* family, family_to_save(c));
  TW_ASSIGN_OR_RETURN(const OrderedJson scaling, rope_scaling(c));
  OrderedJson json = {{"architectures", {class_of(family->hugging_face)}},
                      {"model_type", family->hugging_face},
                      {"vocab_size", c.vocab}};
  if (family->gpt2)
    add_gpt2_sizes(c, json);
  else
    add_llama_sizes(c, scaling, json);
  if (family->experts) add_experts(c, json);
  json["initializer_range"] = 0.02;
  json["tie_word_embeddings"] = c.tied_embeddings;
  json["bos_token_id"] = or_null(tokenizer.bos);
  json["eos_token_id"] = or_null(tokenizer.eos);
  json["pad_token_id"] = or_null(tokenizer.pad);
  json["torch_dtype"] = torch_type(type);
  json["use_cache"] = true;
  add_window(*family, c, json);
  return json;
}

std::vector<std::int32_t> end_tokens_of(const ModelToSave& model) {
  std::vector<std::int32_t> all, tokens;
  if (model.tokenizer.eos) all.push_back(*model.tokenizer.eos);
  all.insert(all.end(), model.generation.end_tokens.begin(), model.generation.end_tokens.end());
  all.insert(all.end(), model.tokenizer.end_of_generation.begin(), model.tokenizer.end_of_generation.end());
  for (const std::int32_t token : all) {
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  }
  return tokens;
}

OrderedJson hugging_face_generation(const ModelToSave& model) {
  OrderedJson json = OrderedJson::object();
  if (model.tokenizer.bos) json["bos_token_id"] = *model.tokenizer.bos;
  const std::vector<std::int32_t> ends = end_tokens_of(model);
  if (ends.size() == 1) json["eos_token_id"] = ends[0];
  if (ends.size() > 1) json["eos_token_id"] = ends;
  if (model.tokenizer.pad) json["pad_token_id"] = *model.tokenizer.pad;
  const GenerationDefaults& d = model.generation.defaults;
  // transformers refuses to sample at temperature 0: that is its do_sample false.
  const bool greedy = d.temperature && *d.temperature == 0;
  const bool sampled = d.temperature || d.top_p || d.top_k || d.min_p || d.typical_p;
  if (sampled) json["do_sample"] = !greedy;
  const auto put = [&](const char* key, const auto& value, bool counts) {
    if (value && counts) json[key] = *value;
  };
  put("temperature", d.temperature, !greedy);
  put("top_p", d.top_p, !greedy);
  put("top_k", d.top_k, !greedy);
  put("min_p", d.min_p, !greedy);
  put("typical_p", d.typical_p, !greedy);
  put("repetition_penalty", d.repetition_penalty, true);
  put("max_new_tokens", d.max_new_tokens, true);
  return json;
}

}  // namespace tw::model
