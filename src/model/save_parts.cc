#include "model/save_parts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/ref/dequantize.h"
#include "model/families.h"
#include "model/tensor_place.h"
#include "model/transformer.h"

namespace tw::model {

using base::Code;
using base::DType;
using spec::RopeStyle;

base::Status on_team(base::Team* team, const std::function<base::Status(int worker, int workers)>& f) {
  if (team == nullptr) return f(0, 1);
  std::vector<base::Status> results(static_cast<std::size_t>(team->size()), base::Ok{});
  team->run([&](int worker) { results[static_cast<std::size_t>(worker)] = f(worker, team->size()); });
  for (const base::Status& result : results) TW_RETURN_IF_ERROR(result);
  return base::Ok{};
}

base::Status check_tensors(const ModelToSave& model) {
  TW_RETURN_IF_ERROR(model.config.validate());
  TW_RETURN_IF_ERROR(model.config.runnable());
  std::map<std::string_view, const io::TensorEntry*> given;
  for (const io::TensorEntry& tensor : model.tensors) given[tensor.name] = &tensor;
  ParamStore store;
  const Transformer transformer(model.config, store);
  for (const Param& param : store.params()) {
    const auto found = given.find(param.name);
    if (found == given.end())
      return base::error(Code::kInvalidArgument, "the model to save has no tensor {}", param.name);
    if (found->second->shape != param.shape)
      return base::error(Code::kInvalidArgument, "tensor {} has shape {} and not {}", param.name,
                         io::shape_text(found->second->shape), io::shape_text(param.shape));
  }
  if (given.size() != store.params().size() || given.size() != model.tensors.size())
    return base::error(Code::kInvalidArgument, "the model to save has {} tensors and not {}",
                       model.tensors.size(), store.params().size());
  return base::Ok{};
}

namespace {

/// Whether the rotation pairs up this tensor's rows: those of q and k, weights and biases.
bool is_rotated(const std::string& name) {
  return name.find("self_attn.q_proj.") != std::string::npos ||
         name.find("self_attn.k_proj.") != std::string::npos;
}

double largest_of(DType type) {
  return type == DType::kF16 ? 65504.0 : static_cast<double>(std::numeric_limits<float>::max());
}

}  // namespace

RowReader::RowReader(const io::TensorEntry& tensor, const spec::ModelConfig& config, RopeStyle style)
    : tensor_(tensor) {
  // A vector is one row, unless its values are reordered one by one.
  const bool reordered = is_rotated(tensor.name) && config.rope_style != style;
  if (tensor.shape.size() > 1 || reordered) rows_ = tensor.shape[0];
  columns_ = tensor.elements() / rows_;
  head_dim_ = reordered ? config.head_dim : 0;
  to_neighbours_ = style == RopeStyle::kInterleaved;
  values_.resize(static_cast<std::size_t>(columns_));
}

base::Result<std::span<const float>> RowReader::read(std::int64_t row, DType type) {
  if (head_dim_ > 0) {
    // Pair i of a head: rows i and i + half, or neighbours 2 i and 2 i + 1.
    const std::int64_t head = row / head_dim_, in_head = row % head_dim_, half = head_dim_ / 2;
    row = head * head_dim_ +
          (to_neighbours_ ? in_head % 2 * half + in_head / 2 : in_head % half * 2 + in_head / half);
  }
  const std::size_t bytes = base::row_bytes(tensor_.dtype, columns_);
  kernels::dequantize_row(tensor_.dtype, tensor_.data + static_cast<std::size_t>(row) * bytes, values_.data(),
                          columns_, kernels::palette_of_row(tensor_.dtype, tensor_.palettes, row));
  const double largest = largest_of(type);
  for (const float value : values_) {
    if (!(std::fabs(static_cast<double>(value)) <= largest))
      return base::error(Code::kInvalidArgument, "tensor {} holds {}, which {} cannot hold", tensor_.name,
                         value, base::dtype_name(type));
  }
  return std::span<const float>(values_);
}

base::Result<std::span<const std::byte>> RowReader::as_it_lies() {
  for (std::int64_t row = 0; row < rows_; ++row) TW_RETURN_IF_ERROR(read(row, tensor_.dtype));
  return std::span(tensor_.data, tensor_.bytes);
}

base::Result<std::span<const std::byte>> encoded(const io::TensorEntry& tensor,
                                                 const spec::ModelConfig& config, RopeStyle style, DType type,
                                                 std::vector<std::byte>& memory) {
  RowReader reader(tensor, config, style);
  if (tensor.dtype == type && reader.in_order()) return reader.as_it_lies();
  const std::size_t row_bytes = base::row_bytes(type, reader.columns());
  memory.resize(row_bytes * static_cast<std::size_t>(reader.rows()));
  for (std::int64_t row = 0; row < reader.rows(); ++row) {
    TW_ASSIGN_OR_RETURN(const std::span<const float> values, reader.read(row, type));
    TW_CHECK(
        kernels::quantize_row(type, values.data(), memory.data() + static_cast<std::size_t>(row) * row_bytes,
                              reader.columns()),
        "a plain type");
  }
  return std::span<const std::byte>(memory);
}

namespace {

template <typename PlaceOf>
std::vector<StoredTensor> stored_tensors(const ModelToSave& model, const PlaceOf& place_of) {
  std::vector<StoredTensor> all;
  std::map<std::string, std::size_t> stored;  // which of them has a name
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const TensorPlace place = place_of(model.tensors[i].name);
    if (place.part == 0) {
      stored[place.name] = all.size();
      all.push_back({place.name, {i}, place.transposed, model.tensors[i].shape});
      if (place.stacked || place.row) all.back().shape.insert(all.back().shape.begin(), 1);
      continue;
    }
    const auto whole = stored.find(place.name);
    TW_CHECK(whole != stored.end(), "the parts of a tensor come in their order");
    StoredTensor& tensor = all[whole->second];
    tensor.parts.push_back(i);
    tensor.shape[0] += place.stacked ? 1 : model.tensors[i].shape[0];
  }
  for (StoredTensor& tensor : all) {
    if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
  }
  return all;
}

}  // namespace

std::vector<StoredTensor> folder_tensors(const ModelToSave& model) {
  return stored_tensors(model, [&](const std::string& name) {
    return folder_place(model.config.architecture, name, "transformer.");
  });
}

std::vector<StoredTensor> gguf_tensors(const ModelToSave& model) {
  return stored_tensors(model, [&](const std::string& name) {
    TensorPlace place = gguf_place(model.config.architecture, model.config.experts.count, name);
    place.row = false;  // it stays a vector
    return place;
  });
}

base::Result<ModelToSave> model_to_save(const ModelFiles& files) {
  ModelToSave model;
  TW_ASSIGN_OR_RETURN(model.config, files.config());
  TW_RETURN_IF_ERROR(model.config.runnable());
  ParamStore store;
  const Transformer transformer(model.config, store);
  for (const Param& param : store.params()) {
    TW_ASSIGN_OR_RETURN(const io::TensorEntry* entry, files.get(param.name));
    model.tensors.push_back(*entry);
    model.tensors.back().name = param.name;
  }
  TW_ASSIGN_OR_RETURN(model.tokenizer, files.tokenizer());
  TW_ASSIGN_OR_RETURN(model.tokenizer_files, files.tokenizer_files());
  TW_ASSIGN_OR_RETURN(model.chat_template, files.chat_template());
  TW_ASSIGN_OR_RETURN(model.generation.defaults, files.defaults());
  model.generation.end_tokens = files.end_tokens();
  return model;
}

}  // namespace tw::model
