#include "model/quantize.h"

#include <optional>

#include "kernels/ref/quantize.h"
#include "model/quantize_parts.h"
#include "model/save_parts.h"

namespace tw::model {
namespace {

using base::DType;
using Bytes = base::Result<std::span<const std::byte>>;

/// Encodes tensor by tensor, rows shared by a team.
class Encoder {
 public:
  Encoder(const ModelToSave& model, const QuantizeOptions& options) : model_(model), options_(options) {
    for (const io::TensorEntry& tensor : model.tensors) all_ += tensor.elements();
  }

  Bytes encode(const io::TensorEntry& tensor, spec::RopeStyle style, DType type) {
    if (options_.progress) options_.progress(static_cast<double>(done_) / static_cast<double>(all_));
    done_ += tensor.elements();
    RowReader reader(tensor, model_.config, style);
    if (tensor.dtype == type && reader.in_order()) return reader.as_it_lies();
    memory_.resize(base::row_bytes(type, reader.columns()) * static_cast<std::size_t>(reader.rows()));
    TW_RETURN_IF_ERROR(on_team(options_.team, [&](int worker, int workers) {
      return encode_rows(tensor, style, type, worker, workers);
    }));
    return std::span<const std::byte>(memory_);
  }

 private:
  base::Status encode_rows(const io::TensorEntry& tensor, spec::RopeStyle style, DType type, int worker,
                           int workers) {
    RowReader reader(tensor, model_.config, style);
    const std::size_t row_bytes = base::row_bytes(type, reader.columns());
    const float* importance = importance_of(tensor, reader.columns());
    for (std::int64_t row = reader.rows() * worker / workers; row < reader.rows() * (worker + 1) / workers;
         ++row) {
      TW_ASSIGN_OR_RETURN(const std::span<const float> values, reader.read(row, type));
      TW_CHECK(kernels::quantize_row_closely(type, values.data(), importance,
                                             memory_.data() + static_cast<std::size_t>(row) * row_bytes,
                                             reader.columns()),
               "a type that can be written");
    }
    return base::Ok{};
  }

  const float* importance_of(const io::TensorEntry& tensor, std::int64_t columns) const {
    if (options_.importance == nullptr) return nullptr;
    const auto found = options_.importance->find(tensor.name);
    if (found == options_.importance->end()) return nullptr;
    TW_CHECK(static_cast<std::int64_t>(found->second.size()) == columns, "one importance a column");
    return found->second.data();
  }

  const ModelToSave& model_;
  const QuantizeOptions& options_;
  std::int64_t all_ = 0, done_ = 0;
  std::vector<std::byte> memory_;
};

}  // namespace

base::Status save_quantized(const std::string& file, const ModelToSave& model, const std::string& name,
                            const QuantizeOptions& options) {
  TW_ASSIGN_OR_RETURN(const Mix* mix, find_mix(name));
  TW_ASSIGN_OR_RETURN(std::vector<DType> types, quantized_types(model, name));
  Encoder encoder(model, options);
  return write_model_gguf(file, model, {std::move(types), mix->file_type},
                          [&](const io::TensorEntry& tensor, spec::RopeStyle style, DType type) {
                            return encoder.encode(tensor, style, type);
                          });
}

}  // namespace tw::model
