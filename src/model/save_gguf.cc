#include <algorithm>

#include "io/gguf_tokenizer_write.h"
#include "model/families.h"
#include "model/quantize.h"
#include "model/save_parts.h"

namespace tw::model {
namespace {

using base::DType;
using io::GgufWriteMetadata;
using spec::ModelConfig;

void add_sizes(const ModelConfig& c, const std::string& prefix, GgufWriteMetadata& out) {
  const auto put = [&](const char* key, std::int64_t value) {
    out.emplace_back(prefix + key, static_cast<std::uint32_t>(value));
  };
  put("block_count", c.layers);
  put("context_length", c.context);
  put("embedding_length", c.width);
  put("feed_forward_length", c.ffn_width);
  put("attention.head_count", c.heads);
  if (c.norm == spec::NormKind::kLayer)
    out.emplace_back(prefix + "attention.layer_norm_epsilon", static_cast<float>(c.norm_epsilon));
  else
    out.emplace_back(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_epsilon));
  if (c.learned_positions) return put("vocab_size", c.vocab);
  put("attention.head_count_kv", c.kv_heads);
  put("attention.key_length", c.head_dim);
  put("attention.value_length", c.head_dim);
  if (c.sliding_window > 0) put("attention.sliding_window", c.sliding_window);
  put("vocab_size", c.vocab);
  put("rope.dimension_count", c.head_dim);
  out.emplace_back(prefix + "rope.freq_base", static_cast<float>(c.rope_theta));
  if (c.rope_scaling.kind != spec::RopeScalingKind::kLinear) return;
  out.emplace_back(prefix + "rope.scaling.type", std::string("linear"));
  out.emplace_back(prefix + "rope.scaling.factor", static_cast<float>(c.rope_scaling.factor));
}

void add_experts(const ModelConfig& c, const std::string& prefix, GgufWriteMetadata& out) {
  const spec::Experts& e = c.experts;
  if (e.count == 0) return;
  out.emplace_back(prefix + "expert_count", static_cast<std::uint32_t>(e.count));
  out.emplace_back(prefix + "expert_used_count", static_cast<std::uint32_t>(e.chosen));
  if (c.architecture == "mixtral" && e.width == c.ffn_width) return;  // its files have no such key
  out.emplace_back(prefix + "expert_feed_forward_length", static_cast<std::uint32_t>(e.width));
  if (e.shared == 0) return;
  out.emplace_back(prefix + "expert_shared_feed_forward_length", static_cast<std::uint32_t>(e.shared_ffn()));
}

void add_sampling(const GenerationDefaults& d, GgufWriteMetadata& out) {
  const auto put = [&](const char* key, const auto& value) {
    if (value) out.emplace_back(std::string("general.sampling.") + key, *value);
  };
  put("temp", d.temperature);
  put("top_k", d.top_k);
  put("top_p", d.top_p);
  put("min_p", d.min_p);
  put("penalty_repeat", d.repetition_penalty);
}

}  // namespace

base::Result<GgufWriteMetadata> gguf_metadata(const ModelToSave& model) {
  const ModelConfig& c = model.config;
  TW_ASSIGN_OR_RETURN(const Family* family, family_to_save(c));
  if (family->experts && c.experts.normed != family->normed)
    return base::error(base::Code::kUnsupported,
                       "norm_topk_prob of this model is {}, but readers of GGUF files {} the weights of a "
                       "token's experts in the family {}",
                       c.experts.normed, family->normed ? "norm" : "do not norm", c.architecture);
  GgufWriteMetadata out = {{"general.architecture", std::string(family->gguf)},
                           {"general.type", std::string("model")}};
  if (!c.name.empty()) out.emplace_back("general.name", c.name);
  if (!c.license.empty()) out.emplace_back("general.license", c.license);
  add_sampling(model.generation.defaults, out);
  add_sizes(c, std::string(family->gguf) + ".", out);
  add_experts(c, std::string(family->gguf) + ".", out);
  text::TokenizerSpec tokenizer = model.tokenizer;
  tokenizer.end_of_generation = end_tokens_of(model);
  TW_ASSIGN_OR_RETURN(const GgufWriteMetadata text, io::tokenizer_metadata(tokenizer, c.vocab));
  out.insert(out.end(), text.begin(), text.end());
  if (!model.chat_template.empty()) out.emplace_back("tokenizer.chat_template", model.chat_template);
  return out;
}

base::Status write_model_gguf(const std::string& file, const ModelToSave& model, const GgufTypes& types,
                              const EncodeTensor& encode) {
  TW_RETURN_IF_ERROR(check_tensors(model));
  TW_ASSIGN_OR_RETURN(GgufWriteMetadata metadata, gguf_metadata(model));
  metadata.emplace_back("general.file_type", types.file_type);
  if (std::any_of(types.types.begin(), types.types.end(), base::is_quantized))
    metadata.emplace_back("general.quantization_version", std::uint32_t{2});
  TW_ASSIGN_OR_RETURN(const Family* family, family_to_save(model.config));
  std::vector<float> factors = model.config.rope_factors;
  if (factors.empty()) factors = llama3_factors(model.config);
  const std::vector<StoredTensor> stored = gguf_tensors(model);
  std::vector<io::TensorEntry> tensors;
  for (const StoredTensor& tensor : stored) {
    const DType type = types.types[tensor.parts[0]];
    for (const std::size_t part : tensor.parts)
      TW_CHECK(types.types[part] == type, "the parts of a tensor have one type");
    tensors.push_back({.name = tensor.name, .dtype = type, .shape = tensor.shape});
    tensors.back().bytes = base::row_bytes(type, tensors.back().elements());
  }
  if (!factors.empty()) {
    tensors.push_back({.name = "rope_freqs.weight", .shape = {static_cast<std::int64_t>(factors.size())}});
    tensors.back().bytes = factors.size() * sizeof(float);
  }
  std::vector<std::byte> joined;
  const auto bytes_of = [&](std::size_t i) -> base::Result<std::span<const std::byte>> {
    if (i == stored.size()) return std::as_bytes(std::span(factors));
    const std::vector<std::size_t>& parts = stored[i].parts;
    const auto part = [&](std::size_t at) {
      return encode(model.tensors[at], family->gguf_rope, types.types[at]);
    };
    if (parts.size() == 1) return part(parts[0]);
    joined.clear();
    for (const std::size_t at : parts) {
      TW_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, part(at));
      joined.insert(joined.end(), bytes.begin(), bytes.end());
    }
    return std::span<const std::byte>(joined);
  };
  return io::write_gguf(file, metadata, tensors, bytes_of);
}

base::Status save_gguf(const std::string& file, const ModelToSave& model, DType type) {
  if (type != DType::kF32 && type != DType::kF16 && type != DType::kBF16)
    return base::error(base::Code::kInvalidArgument, "a model is saved as F32, F16 or BF16, not {}",
                       base::dtype_name(type));
  return save_quantized(file, model, std::string(base::dtype_name(type)), {});
}

}  // namespace tw::model
