#include "model/families.h"

#include <algorithm>
#include <array>

#include "model/family_table.h"

namespace tw::model {
namespace {

using base::Code;
using spec::ModelConfig;
using spec::RopeStyle;

constexpr Family kFamilies[] = {
    {.gguf = "llama", .hugging_face = "llama", .gguf_rope = RopeStyle::kInterleaved},
    {.gguf = "llama",
     .hugging_face = "mistral",
     .gguf_rope = RopeStyle::kInterleaved,
     .kv_heads = 8,
     .window = 4096},
    {.gguf = "llama",
     .hugging_face = "mixtral",
     .gguf_rope = RopeStyle::kInterleaved,
     .experts = true,
     .kv_heads = 8,
     .window_if_told = true},
    {.gguf = "qwen2",
     .hugging_face = "qwen2",
     .gguf_rope = RopeStyle::kHalfSplit,
     .qkv_bias = true,
     .kv_heads = 32,
     .window = 4096,
     .window_by_layer = true},
    {.gguf = "qwen3",
     .hugging_face = "qwen3",
     .gguf_rope = RopeStyle::kHalfSplit,
     .qk_norm = true,
     .kv_heads = 32,
     .head_dim = 128,
     .window = 4096,
     .window_by_layer = true},
    {.gguf = "qwen2moe",
     .hugging_face = "qwen2_moe",
     .gguf_rope = RopeStyle::kHalfSplit,
     .qkv_bias = true,
     .experts = true,
     .shared_expert = true,
     .normed = false,
     .kv_heads = 16},
    {.gguf = "qwen3moe",
     .hugging_face = "qwen3_moe",
     .gguf_rope = RopeStyle::kHalfSplit,
     .qk_norm = true,
     .experts = true,
     .kv_heads = 4},
    {.gguf = "gpt2",
     .hugging_face = "gpt2",
     .gguf_rope = RopeStyle::kHalfSplit,
     .qkv_bias = true,
     .gpt2 = true},
};

}  // namespace

std::span<const Family> families() {
  return kFamilies;
}

base::Error unknown_family(const std::string& where, std::string_view key, std::string_view value) {
  return {
      Code::kUnsupported,
      fmt::format("{} is {}; this program runs llama, mistral, mixtral, qwen2, qwen2_moe, qwen3, qwen3_moe "
                  "(in GGUF: qwen2moe, qwen3moe) and gpt2",
                  key, io::quote_text(value)),
      where};
}

void apply(const Family& family, ModelConfig& c) {
  c.architecture = family.hugging_face;
  c.qkv_bias = family.qkv_bias;
  c.qk_norm = family.qk_norm;
  c.experts.normed = family.normed;
  c.experts.shared = family.shared_expert ? 1 : 0;
  c.experts.shared_gated = family.shared_expert;
  if (!family.gpt2) return;
  c.norm = spec::NormKind::kLayer;
  c.ffn = spec::FfnKind::kGelu;
  c.learned_positions = c.linear_bias = true;
}

void set_family(ModelConfig& c, std::string_view name) {
  for (const Family& family : kFamilies) {
    if (name == family.hugging_face) return apply(family, c);
  }
  TW_CHECK(false, "a known family");
}

base::Result<ModelConfig> validated(ModelConfig c, const std::string& where) {
  if (auto status = c.validate(); !status.ok()) {
    return base::Error{status.error().code, "model configuration: " + status.error().message, where};
  }
  return c;
}

namespace {

base::Status read_rope_factors(const io::GgufFile& file, ModelConfig& c) {
  const io::TensorEntry* factors = file.find("rope_freqs.weight");
  if (factors == nullptr) return base::Ok{};
  if (factors->dtype != base::DType::kF32 || factors->elements() != c.head_dim / 2) {
    return base::Error{Code::kCorrupt,
                       fmt::format("rope_freqs.weight should be {} F32 values", c.head_dim / 2), file.path()};
  }
  const auto* values = reinterpret_cast<const float*>(factors->data);
  c.rope_factors.assign(values, values + c.head_dim / 2);
  for (const float value : c.rope_factors) {
    if (!(value > 0))
      return base::Error{Code::kCorrupt, "rope_freqs.weight holds a value that is not positive", file.path()};
  }
  return base::Ok{};
}

base::Status read_gguf_rope(const io::GgufFile& file, const std::string& prefix, ModelConfig& c) {
  TW_ASSIGN_OR_RETURN(c.rope_theta, file.get_float(prefix + "rope.freq_base", 10000.0));
  TW_ASSIGN_OR_RETURN(const std::int64_t rotated, file.get_int(prefix + "rope.dimension_count", c.head_dim));
  if (rotated != c.head_dim) {
    return base::Error{
        Code::kUnsupported,
        fmt::format("rotates {} of {} dimensions; only whole heads are supported", rotated, c.head_dim),
        file.path()};
  }
  // As llama.cpp reads it: a factor without a type is linear, and early files had the key of another name.
  TW_ASSIGN_OR_RETURN(const std::string_view scaling,
                      file.get_string(prefix + "rope.scaling.type", "linear"));
  if (scaling == "linear") {
    TW_ASSIGN_OR_RETURN(const double early, file.get_float(prefix + "rope.scale_linear", 1.0));
    TW_ASSIGN_OR_RETURN(const double factor, file.get_float(prefix + "rope.scaling.factor", early));
    if (factor != 0 && factor != 1)
      c.rope_scaling = {.kind = spec::RopeScalingKind::kLinear, .factor = factor};
  } else if (scaling != "none") {
    return base::Error{Code::kUnsupported,
                       fmt::format("rope scaling {} is not supported", io::quote_text(scaling)), file.path()};
  }
  return read_rope_factors(file, c);
}

base::Status read_gguf_sizes(const io::GgufFile& file, const std::string& prefix, ModelConfig& c) {
  TW_ASSIGN_OR_RETURN(c.layers, file.get_int(prefix + "block_count"));
  TW_ASSIGN_OR_RETURN(c.width, file.get_int(prefix + "embedding_length"));
  TW_ASSIGN_OR_RETURN(c.ffn_width, file.get_int(prefix + "feed_forward_length"));
  TW_ASSIGN_OR_RETURN(c.heads, file.get_int(prefix + "attention.head_count"));
  TW_ASSIGN_OR_RETURN(c.kv_heads, file.get_int(prefix + "attention.head_count_kv", c.heads));
  TW_ASSIGN_OR_RETURN(c.context, file.get_int(prefix + "context_length"));
  const char* epsilon =
      c.norm == spec::NormKind::kLayer ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
  TW_ASSIGN_OR_RETURN(c.norm_epsilon, file.get_float(prefix + epsilon, 1e-5));
  TW_ASSIGN_OR_RETURN(c.sliding_window, file.get_int(prefix + "attention.sliding_window", 0));
  const std::int64_t default_head = c.heads > 0 ? c.width / c.heads : 0;
  TW_ASSIGN_OR_RETURN(c.head_dim, file.get_int(prefix + "attention.key_length", default_head));
  return base::Ok{};
}

base::Status read_gguf_experts(const io::GgufFile& file, const std::string& prefix, ModelConfig& c) {
  TW_ASSIGN_OR_RETURN(c.experts.count, file.get_int(prefix + "expert_count"));
  TW_ASSIGN_OR_RETURN(c.experts.chosen, file.get_int(prefix + "expert_used_count"));
  TW_ASSIGN_OR_RETURN(c.experts.normed, file.get_bool(prefix + "expert_weights_norm", c.experts.normed));
  // As llama.cpp reads it: early files with a shared expert say its width alone, which is that of all that a
  // token takes.
  const bool shared = c.experts.shared > 0;
  const std::int64_t each = shared ? c.ffn_width / std::max<std::int64_t>(1, c.experts.chosen) : c.ffn_width;
  TW_ASSIGN_OR_RETURN(c.experts.width, file.get_int(prefix + "expert_feed_forward_length", each));
  if (!shared) return base::Ok{};
  TW_ASSIGN_OR_RETURN(c.experts.shared_width,
                      file.get_int(prefix + "expert_shared_feed_forward_length", c.ffn_width));
  return base::Ok{};
}

base::Result<const Family*> family_of(const io::GgufFile& file) {
  TW_ASSIGN_OR_RETURN(const std::string_view architecture, file.get_string("general.architecture"));
  TW_ASSIGN_OR_RETURN(const std::int64_t experts,
                      file.get_int(std::string(architecture) + ".expert_count", 0));
  bool known = false;
  for (const Family& family : families()) {
    if (architecture != family.gguf) continue;
    if (family.experts == (experts != 0)) return &family;
    known = true;
  }
  if (!known) return unknown_family(file.path(), "general.architecture", architecture);
  return base::Error{
      Code::kUnsupported,
      fmt::format("{}.expert_count is {}, which no model of the family has", architecture, experts),
      file.path()};
}

}  // namespace

base::Result<ModelConfig> config_from_gguf(const io::GgufFile& file) {
  TW_ASSIGN_OR_RETURN(const Family* family, family_of(file));
  const std::string prefix = std::string(family->gguf) + ".";
  ModelConfig c;
  apply(*family, c);
  c.rope_style = family->gguf_rope;
  TW_ASSIGN_OR_RETURN(const std::string_view name, file.get_string("general.name", ""));
  TW_ASSIGN_OR_RETURN(const std::string_view license, file.get_string("general.license", ""));
  c.name = name;
  c.license = license;
  TW_RETURN_IF_ERROR(read_gguf_sizes(file, prefix, c));
  if (family->experts) TW_RETURN_IF_ERROR(read_gguf_experts(file, prefix, c));
  const io::TensorEntry* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return base::Error{Code::kCorrupt,
                       "has no matrix token_embd.weight: it is not a whole model (download it again)",
                       file.path()};
  }
  c.vocab = embedding->shape[0];
  c.tied_embeddings = file.find("output.weight") == nullptr;
  if (!c.learned_positions) TW_RETURN_IF_ERROR(read_gguf_rope(file, prefix, c));
  return validated(std::move(c), file.path());
}

std::string gguf_tensor_name(const std::string& parameter) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 19> kParts = {{
      {"input_layernorm", "attn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"mlp.gate", "ffn_gate_inp"},
      {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
      {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
      {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
      {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
  }};
  constexpr std::string_view kLayers = "model.layers.";
  std::string prefix, rest = parameter;
  if (parameter.rfind(kLayers, 0) == 0) {
    const std::size_t dot = parameter.find('.', kLayers.size());
    prefix = "blk." + parameter.substr(kLayers.size(), dot - kLayers.size()) + ".";
    rest = parameter.substr(dot + 1);
  }
  for (const auto& [ours, theirs] : kParts) {
    if (rest.rfind(std::string(ours) + ".", 0) == 0)
      return prefix + std::string(theirs) + rest.substr(ours.size());
  }
  return parameter;
}

}  // namespace tw::model
