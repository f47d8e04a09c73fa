#include "io/gguf_tokenizer_write.h"
#include "model/families.h"
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
  put("attention.head_count_kv", c.kv_heads);
  put("attention.key_length", c.head_dim);
  put("attention.value_length", c.head_dim);
  if (c.sliding_window > 0) put("attention.sliding_window", c.sliding_window);
  put("vocab_size", c.vocab);
  put("rope.dimension_count", c.head_dim);
  out.emplace_back(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_epsilon));
  out.emplace_back(prefix + "rope.freq_base", static_cast<float>(c.rope_theta));
  if (c.rope_scaling.kind != spec::RopeScalingKind::kLinear) return;
  out.emplace_back(prefix + "rope.scaling.type", std::string("linear"));
  out.emplace_back(prefix + "rope.scaling.factor", static_cast<float>(c.rope_scaling.factor));
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

/// GGUF's general.file_type.
std::uint32_t file_type(DType type) {
  return type == DType::kF32 ? 0 : type == DType::kF16 ? 1 : 32;
}

}  // namespace

base::Result<GgufWriteMetadata> gguf_metadata(const ModelToSave& model) {
  const ModelConfig& c = model.config;
  TW_ASSIGN_OR_RETURN(const Family* family, family_to_save(c));
  GgufWriteMetadata out = {{"general.architecture", std::string(family->gguf)},
                           {"general.type", std::string("model")}};
  if (!c.name.empty()) out.emplace_back("general.name", c.name);
  if (!c.license.empty()) out.emplace_back("general.license", c.license);
  add_sampling(model.generation.defaults, out);
  add_sizes(c, std::string(family->gguf) + ".", out);
  text::TokenizerSpec tokenizer = model.tokenizer;
  tokenizer.end_of_generation = end_tokens_of(model);
  TW_ASSIGN_OR_RETURN(const GgufWriteMetadata text, io::tokenizer_metadata(tokenizer, c.vocab));
  out.insert(out.end(), text.begin(), text.end());
  if (!model.chat_template.empty()) out.emplace_back("tokenizer.chat_template", model.chat_template);
  return out;
}

base::Status save_gguf(const std::string& file, const ModelToSave& model, DType type) {
  if (type != DType::kF32 && type != DType::kF16 && type != DType::kBF16)
    return base::error(base::Code::kInvalidArgument, "a model is saved as F32, F16 or BF16, not {}",
                       base::dtype_name(type));
  TW_RETURN_IF_ERROR(check_tensors(model));
  TW_ASSIGN_OR_RETURN(GgufWriteMetadata metadata, gguf_metadata(model));
  metadata.emplace_back("general.file_type", file_type(type));
  TW_ASSIGN_OR_RETURN(const Family* family, family_to_save(model.config));
  std::vector<float> factors = model.config.rope_factors;
  if (factors.empty()) factors = llama3_factors(model.config);
  std::vector<io::TensorEntry> tensors;
  for (const io::TensorEntry& tensor : model.tensors) {
    const DType saved = tensor.shape.size() == 2 ? type : DType::kF32;
    tensors.push_back({.name = gguf_tensor_name(tensor.name), .dtype = saved, .shape = tensor.shape});
    tensors.back().bytes = base::row_bytes(saved, tensor.elements());
  }
  if (!factors.empty()) {
    tensors.push_back({.name = "rope_freqs.weight", .shape = {static_cast<std::int64_t>(factors.size())}});
    tensors.back().bytes = factors.size() * sizeof(float);
  }
  std::vector<std::byte> memory;
  return io::write_gguf(
      file, metadata, tensors, [&](std::size_t i) -> base::Result<std::span<const std::byte>> {
        if (i == model.tensors.size()) return std::as_bytes(std::span(factors));
        return encoded(model.tensors[i], model.config, family->gguf_rope, tensors[i].dtype, memory);
      });
}

}  // namespace tw::model
