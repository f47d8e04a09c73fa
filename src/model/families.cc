#include "model/families.h"

#include <array>
#include <optional>

namespace tw::model {
namespace {

using base::Code;
using spec::ModelConfig;

struct Family {
  const char* gguf;           ///< general.architecture
  const char* hugging_face;   ///< model_type
  spec::RopeStyle gguf_rope;  ///< files of the llama family are permuted by their converter, others are not
  bool qkv_bias, qk_norm;
};

constexpr Family kFamilies[] = {
    {"llama", "llama", spec::RopeStyle::kInterleaved, false, false},
    {"llama", "mistral", spec::RopeStyle::kInterleaved, false, false},
    {"qwen2", "qwen2", spec::RopeStyle::kHalfSplit, true, false},
    {"qwen3", "qwen3", spec::RopeStyle::kHalfSplit, false, true},
};

base::Error unknown_family(const std::string& where, std::string_view key, std::string_view value) {
  return {Code::kUnsupported,
          fmt::format("{} is \"{}\"; this program runs llama, mistral, qwen2 and qwen3", key, value), where};
}

void apply(const Family& family, ModelConfig& c) {
  c.architecture = family.hugging_face;
  c.qkv_bias = family.qkv_bias;
  c.qk_norm = family.qk_norm;
}

base::Result<ModelConfig> validated(ModelConfig c, const std::string& where) {
  if (auto status = c.validate(); !status.ok()) {
    return base::Error{status.error().code, "model configuration: " + status.error().message, where};
  }
  return c;
}

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
  TW_ASSIGN_OR_RETURN(const std::string_view scaling, file.get_string(prefix + "rope.scaling.type", "none"));
  if (scaling == "linear") {
    c.rope_scaling.kind = spec::RopeScalingKind::kLinear;
    TW_ASSIGN_OR_RETURN(c.rope_scaling.factor, file.get_float(prefix + "rope.scaling.factor", 1.0));
  } else if (scaling != "none") {
    return base::Error{Code::kUnsupported, fmt::format("rope scaling \"{}\" is not supported", scaling),
                       file.path()};
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
  TW_ASSIGN_OR_RETURN(c.norm_epsilon, file.get_float(prefix + "attention.layer_norm_rms_epsilon", 1e-5));
  TW_ASSIGN_OR_RETURN(c.sliding_window, file.get_int(prefix + "attention.sliding_window", 0));
  const std::int64_t default_head = c.heads > 0 ? c.width / c.heads : 0;
  TW_ASSIGN_OR_RETURN(c.head_dim, file.get_int(prefix + "attention.key_length", default_head));
  return base::Ok{};
}

}  // namespace

base::Result<ModelConfig> config_from_gguf(const io::GgufFile& file) {
  TW_ASSIGN_OR_RETURN(const std::string_view architecture, file.get_string("general.architecture"));
  const Family* family = nullptr;
  for (const Family& f : kFamilies) {
    if (architecture == f.gguf && family == nullptr) family = &f;
  }
  if (family == nullptr) return unknown_family(file.path(), "general.architecture", architecture);
  const std::string prefix = std::string(architecture) + ".";
  ModelConfig c;
  apply(*family, c);
  c.rope_style = family->gguf_rope;
  TW_ASSIGN_OR_RETURN(const std::string_view name, file.get_string("general.name", ""));
  TW_ASSIGN_OR_RETURN(const std::string_view license, file.get_string("general.license", ""));
  c.name = name;
  c.license = license;
  TW_RETURN_IF_ERROR(read_gguf_sizes(file, prefix, c));
  if (file.has(prefix + "expert_count")) {
    TW_ASSIGN_OR_RETURN(const std::int64_t experts, file.get_int(prefix + "expert_count"));
    if (experts > 0)
      return base::Error{Code::kUnsupported, "is a mixture of experts, which this version cannot run yet",
                         file.path()};
  }
  const io::TensorEntry* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return base::Error{Code::kCorrupt,
                       "has no matrix token_embd.weight: it is not a whole model (download it again)",
                       file.path()};
  }
  c.vocab = embedding->shape[0];
  c.tied_embeddings = file.find("output.weight") == nullptr;
  TW_RETURN_IF_ERROR(read_gguf_rope(file, prefix, c));
  return validated(std::move(c), file.path());
}

namespace {

/// Reads fields of config.json and remembers the first that has a wrong type.
class FieldReader {
 public:
  FieldReader(const base::Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  template <typename T>
  void read(const char* key, T& out, bool required = false) {
    const auto it = json_.find(key);
    if (it == json_.end() || it->is_null()) {
      if (required) fail(key, "is missing");
    } else if (!fits<T>(*it)) {
      fail(key, "has the wrong type");
    } else {
      out = it->template get<T>();
    }
  }
  void fail(const char* key, std::string_view why) {
    if (!error_) error_ = base::Error{Code::kCorrupt, fmt::format("\"{}\" {}", key, why), where_};
  }
  base::Status status() const {
    if (error_) return *error_;
    return base::Ok{};
  }

 private:
  template <typename T>
  static bool fits(const base::Json& value) {
    if constexpr (std::is_same_v<T, bool>)
      return value.is_boolean();
    else if constexpr (std::is_same_v<T, std::string>)
      return value.is_string();
    else if constexpr (std::is_integral_v<T>)
      return value.is_number_integer();
    else
      return value.is_number();
  }
  const base::Json& json_;
  std::string where_;
  std::optional<base::Error> error_;
};

base::Status read_scaling(const base::Json& scaling, const std::string& where, ModelConfig& c) {
  FieldReader fields(scaling, where);
  std::string kind = "default";
  fields.read("type", kind);
  fields.read("rope_type", kind);
  fields.read("rope_theta", c.rope_theta);
  spec::RopeScaling& s = c.rope_scaling;
  fields.read("factor", s.factor);
  fields.read("low_freq_factor", s.low_frequency_factor);
  fields.read("high_freq_factor", s.high_frequency_factor);
  fields.read("original_max_position_embeddings", s.original_context);
  TW_RETURN_IF_ERROR(fields.status());
  if (kind == "llama3")
    s.kind = spec::RopeScalingKind::kLlama3;
  else if (kind == "linear")
    s.kind = spec::RopeScalingKind::kLinear;
  else if (kind != "default")
    return base::Error{Code::kUnsupported, fmt::format("rope scaling \"{}\" is not supported", kind), where};
  return base::Ok{};
}

/// What the forward does not have: each must be absent or have the value it is built for.
base::Status refuse_unknown_features(const base::Json& json, const std::string& where) {
  const std::pair<const char*, base::Json> kExpected[] = {
      {"hidden_act", "silu"}, {"attention_bias", false}, {"mlp_bias", false}, {"partial_rotary_factor", 1.0}};
  for (const auto& [key, expected] : kExpected) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null() || *it == expected) continue;
    return base::Error{
        Code::kUnsupported,
        fmt::format("\"{}\" is {}, but only {} is supported", key, it->dump(), expected.dump()), where};
  }
  return base::Ok{};
}

}  // namespace

base::Result<ModelConfig> config_from_hugging_face(const base::Json& json, const std::string& where) {
  if (!json.is_object()) return base::Error{Code::kCorrupt, "is not a JSON object", where};
  FieldReader fields(json, where);
  std::string type;
  fields.read("model_type", type, true);
  TW_RETURN_IF_ERROR(fields.status());
  const Family* family = nullptr;
  for (const Family& f : kFamilies) {
    if (type == f.hugging_face) family = &f;
  }
  if (family == nullptr) return unknown_family(where, "model_type", type);
  TW_RETURN_IF_ERROR(refuse_unknown_features(json, where));
  ModelConfig c;
  apply(*family, c);
  fields.read("_name_or_path", c.name);
  fields.read("num_hidden_layers", c.layers, true);
  fields.read("hidden_size", c.width, true);
  fields.read("intermediate_size", c.ffn_width, true);
  fields.read("num_attention_heads", c.heads, true);
  fields.read("vocab_size", c.vocab, true);
  fields.read("max_position_embeddings", c.context, true);
  TW_RETURN_IF_ERROR(fields.status());
  c.kv_heads = c.heads;
  fields.read("num_key_value_heads", c.kv_heads);
  c.head_dim = c.heads > 0 ? c.width / c.heads : 0;
  fields.read("head_dim", c.head_dim);
  c.norm_epsilon = 1e-6;
  fields.read("rms_norm_eps", c.norm_epsilon);
  fields.read("rope_theta", c.rope_theta);
  fields.read("tie_word_embeddings", c.tied_embeddings);
  bool windowed = type == "mistral";
  fields.read("use_sliding_window", windowed);
  if (windowed) fields.read("sliding_window", c.sliding_window);
  TW_RETURN_IF_ERROR(fields.status());
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (json.contains(key) && json[key].is_object()) TW_RETURN_IF_ERROR(read_scaling(json[key], where, c));
  }
  return validated(std::move(c), where);
}

std::string gguf_tensor_name(const std::string& parameter) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kParts = {{
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
