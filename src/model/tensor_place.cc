#include "model/tensor_place.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "model/families.h"

namespace tw::model {
namespace {

using base::Code;

struct NamePart {
  std::string_view ours, folder, gguf;
  std::int64_t part = 0, parts = 1;
  bool linear = false;  ///< a layer whose weight a folder has the other way round
};

constexpr NamePart kGpt2[] = {
    {"model.embed_tokens", "wte", "token_embd"},
    {"model.embed_positions", "wpe", "position_embd"},
    {"model.norm", "ln_f", "output_norm"},
    {"lm_head", "lm_head", "output"},
    {"input_layernorm", "ln_1", "attn_norm"},
    {"post_attention_layernorm", "ln_2", "ffn_norm"},
    {"self_attn.q_proj", "attn.c_attn", "attn_qkv", 0, 3, true},
    {"self_attn.k_proj", "attn.c_attn", "attn_qkv", 1, 3, true},
    {"self_attn.v_proj", "attn.c_attn", "attn_qkv", 2, 3, true},
    {"self_attn.o_proj", "attn.c_proj", "attn_output", 0, 1, true},
    {"mlp.up_proj", "mlp.c_fc", "ffn_up", 0, 1, true},
    {"mlp.down_proj", "mlp.c_proj", "ffn_down", 0, 1, true},
};

constexpr std::string_view kLayers = "model.layers.";

/// "model.layers.3.mlp.up_proj.bias" is {"3", "mlp.up_proj", ".bias"}; outside of layers the number is empty.
struct SplitName {
  std::string_view layer, middle, suffix;

  explicit SplitName(std::string_view name) {
    if (name.starts_with(kLayers)) {
      const std::size_t dot = name.find('.', kLayers.size());
      layer = name.substr(kLayers.size(), dot - kLayers.size());
      name = name.substr(dot + 1);
    }
    const std::size_t end = name.rfind('.');
    middle = name.substr(0, end);
    suffix = name.substr(end);
  }
};

const NamePart* find_part(std::string_view middle) {
  for (const NamePart& part : kGpt2) {
    if (part.ours == middle) return &part;
  }
  return nullptr;
}

/// "mlp.experts.3.up_proj" is {3, "up_proj"}.
struct ExpertName {
  std::int64_t expert;
  std::string_view matrix;
};
std::optional<ExpertName> expert_name(std::string_view middle) {
  constexpr std::string_view kExperts = "mlp.experts.";
  if (!middle.starts_with(kExperts)) return std::nullopt;
  middle.remove_prefix(kExperts.size());
  ExpertName name{};
  const auto [end, error] = std::from_chars(middle.data(), middle.data() + middle.size(), name.expert);
  if (error != std::errc() || end == middle.data() + middle.size() || *end != '.') return std::nullopt;
  name.matrix = middle.substr(static_cast<std::size_t>(end - middle.data()) + 1);
  return name;
}

base::Error no_stack(const TensorPlace& place, const io::TensorEntry& whole, const std::string& where) {
  return {Code::kCorrupt,
          fmt::format("tensor {} is {}, but should be one matrix for each of {} experts",
                      io::quote_text(whole.name), io::shape_text(whole.shape), place.parts),
          where};
}

base::Error cannot_divide(const TensorPlace& place, const io::TensorEntry& whole, const std::string& where) {
  return {Code::kCorrupt,
          fmt::format("tensor {} is {} of type {}, but should be {} whose outputs divide by {}",
                      io::quote_text(whole.name), io::shape_text(whole.shape), base::dtype_name(whole.dtype),
                      place.transposed ? "a matrix of F32, F16 or BF16" : "one", place.parts),
          where};
}

/// to [columns, rows] = from [rows, all columns] transposed, from column `first` on.
template <typename T>
void transpose(const std::byte* from, std::int64_t rows, std::int64_t stride, std::int64_t first,
               std::int64_t columns, std::byte* to) {
  const auto* in = reinterpret_cast<const T*>(from) + first;
  auto* out = reinterpret_cast<T*>(to);
  constexpr std::int64_t kBlock = 32;  // rows that are read together, so that lines are used whole
  for (std::int64_t begin = 0; begin < rows; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, rows);
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = begin; r < end; ++r) out[c * rows + r] = in[r * stride + c];
    }
  }
}

}  // namespace

void transpose_plain(base::DType type, const std::byte* from, std::int64_t rows, std::int64_t stride,
                     std::int64_t first, std::int64_t columns, std::byte* to) {
  if (type == base::DType::kF32)
    transpose<std::uint32_t>(from, rows, stride, first, columns, to);
  else
    transpose<std::uint16_t>(from, rows, stride, first, columns, to);
}

namespace {

TensorPlace gpt2_folder_place(const std::string& parameter, std::string_view prefix) {
  const SplitName name(parameter);
  const NamePart* part = find_part(name.middle);
  if (part == nullptr) return {parameter};
  std::string place = part->folder == "lm_head" ? "" : std::string(prefix);
  if (!name.layer.empty()) place.append("h.").append(name.layer).append(".");
  return {place.append(part->folder).append(name.suffix), part->part, part->parts,
          part->linear && name.suffix == ".weight"};
}

TensorPlace gpt2_gguf_place(const std::string& parameter) {
  const SplitName name(parameter);
  const NamePart* part = find_part(name.middle);
  if (part == nullptr) return {parameter};
  std::string place;
  if (!name.layer.empty()) place.append("blk.").append(name.layer).append(".");
  return {place.append(part->gguf).append(name.suffix), part->part, part->parts, false};
}

/// Mixtral's experts have matrices w1, w2 and w3, and its block a name of its own.
TensorPlace mixtral_folder_place(const std::string& parameter) {
  const SplitName name(parameter);
  const std::string prefix = fmt::format("{}{}.block_sparse_moe.", kLayers, name.layer);
  if (name.middle == "mlp.gate") return {fmt::format("{}gate{}", prefix, name.suffix)};
  const std::optional<ExpertName> expert = expert_name(name.middle);
  if (!expert) return {parameter};
  const char* matrix = expert->matrix == "gate_proj" ? "w1" : expert->matrix == "up_proj" ? "w3" : "w2";
  return {fmt::format("{}experts.{}.{}{}", prefix, expert->expert, matrix, name.suffix)};
}

/// "model.layers.3.mlp.experts.5.up_proj.weight" is part 5 of "blk.3.ffn_up_exps.weight"; before that there
/// were files with "blk.3.ffn_up.5.weight".
TensorPlace stacked_place(const SplitName& name, const ExpertName& expert, std::int64_t experts) {
  const std::string prefix =
      fmt::format("blk.{}.ffn_{}", name.layer, expert.matrix.substr(0, expert.matrix.find('_')));
  TensorPlace place{fmt::format("{}_exps{}", prefix, name.suffix), expert.expert, experts};
  place.stacked = true;
  place.alone = fmt::format("{}.{}{}", prefix, expert.expert, name.suffix);
  return place;
}

/// To transformers it is a linear layer with one output.
bool is_row(const SplitName& name) {
  return name.middle == "mlp.shared_expert_gate";
}

}  // namespace

TensorPlace folder_place(std::string_view family, const std::string& parameter,
                         std::string_view gpt2_prefix) {
  if (family == "gpt2") return gpt2_folder_place(parameter, gpt2_prefix);
  if (family == "mixtral") return mixtral_folder_place(parameter);
  TensorPlace place{parameter};
  place.row = is_row(SplitName(parameter));
  return place;
}

TensorPlace gguf_place(std::string_view family, std::int64_t experts, const std::string& parameter) {
  if (family == "gpt2") return gpt2_gguf_place(parameter);
  const SplitName name(parameter);
  if (const auto expert = expert_name(name.middle)) return stacked_place(name, *expert, experts);
  TensorPlace place{gguf_tensor_name(parameter)};
  place.row = is_row(name);
  return place;
}

std::vector<std::int64_t> shape_in_file(const TensorPlace& place, std::vector<std::int64_t> shape) {
  if (place.stacked) {
    shape.insert(shape.begin(), place.parts);
    return shape;
  }
  const bool turned = place.transposed && shape.size() == 2;
  if (turned) std::swap(shape[0], shape[1]);
  if (!shape.empty()) shape[turned ? 1 : 0] *= place.parts;
  return shape;
}

base::Result<const io::TensorEntry*> TensorParts::get(const TensorPlace& place, const io::TensorEntry& whole,
                                                      const std::string& where) {
  const bool turned = place.row && whole.shape.size() == 2 && whole.shape[0] == 1;
  if (place.parts == 1 && !place.transposed && !place.stacked && !turned) return &whole;
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Part>& part = parts_[{place.name, place.part}];
  if (part == nullptr) {
    TW_ASSIGN_OR_RETURN(part, make(place, whole, where));
  }
  return &part->entry;
}

base::Result<std::unique_ptr<TensorParts::Part>> TensorParts::make(const TensorPlace& place,
                                                                   const io::TensorEntry& whole,
                                                                   const std::string& where) {
  auto part = std::make_unique<Part>();
  io::TensorEntry& entry = part->entry;
  entry = whole;
  if (place.row) {
    entry.shape = {whole.shape[1]};
    return part;
  }
  if (place.stacked) {
    if (whole.shape.size() != 3 || whole.shape[0] != place.parts) return no_stack(place, whole, where);
    entry.shape.erase(entry.shape.begin());
    entry.bytes = whole.bytes / static_cast<std::size_t>(place.parts);
    entry.data = whole.data + entry.bytes * static_cast<std::size_t>(place.part);
    return part;
  }
  const std::size_t axis = place.transposed ? 1 : 0;
  const bool plain = whole.dtype == base::DType::kF32 || whole.dtype == base::DType::kF16 ||
                     whole.dtype == base::DType::kBF16;
  if (whole.shape.size() <= axis || whole.shape.size() > 2 || whole.shape[axis] % place.parts != 0 ||
      (place.transposed && !plain))
    return cannot_divide(place, whole, where);
  const std::int64_t outputs = whole.shape[axis] / place.parts;
  if (!place.transposed) {
    entry.shape[0] = outputs;
    entry.bytes = whole.bytes / static_cast<std::size_t>(place.parts);
    entry.data = whole.data + entry.bytes * static_cast<std::size_t>(place.part);
    if (whole.shape.size() == 1 && base::is_quantized(whole.dtype)) return cannot_divide(place, whole, where);
    return part;
  }
  const std::int64_t inputs = whole.shape[0];
  entry.shape = {outputs, inputs};
  entry.bytes = base::row_bytes(whole.dtype, inputs) * static_cast<std::size_t>(outputs);
  TW_ASSIGN_OR_RETURN(part->copy, tensor::Buffer::allocate(entry.bytes, "a layer that is transposed"));
  entry.data = part->copy.data();
  entry.mapped = false;
  transpose_plain(whole.dtype, whole.data, inputs, whole.shape[1], outputs * place.part, outputs,
                  part->copy.data());
  return part;
}

}  // namespace tw::model
