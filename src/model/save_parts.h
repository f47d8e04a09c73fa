// Inside this folder: what both formats of save.h are made of.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/team.h"
#include "io/gguf_write.h"
#include "model/family_table.h"
#include "model/save.h"

namespace tw::model {

/// The row of the table that a configuration is written by. Fails with kUnsupported when no file of the
/// family says what the configuration wants.
base::Result<const Family*> family_to_save(const spec::ModelConfig& config);

/// config.json. `tokens`: those that end a text, the first of them the tokenizer's own.
base::Result<base::OrderedJson> hugging_face_config(const spec::ModelConfig& config,
                                                    const text::TokenizerSpec& tokenizer, base::DType type);
base::OrderedJson hugging_face_generation(const ModelToSave& model);
/// eos and the others, each once.
std::vector<std::int32_t> end_tokens_of(const ModelToSave& model);

/// By how much the frequencies of a Llama 3 are divided, as GGUF has it; empty for other scaling.
std::vector<float> llama3_factors(const spec::ModelConfig& config);

/// All metadata of a GGUF file but general.file_type.
base::Result<io::GgufWriteMetadata> gguf_metadata(const ModelToSave& model);

/// A tensor as a file has it: one of the model's, or several, output after output or one behind the other,
/// under one name.
struct StoredTensor {
  std::string name;
  std::vector<std::size_t> parts;  ///< numbers of ModelToSave::tensors, all of one width
  bool transposed = false;         ///< the file has [in, out]
  std::vector<std::int64_t> shape;
};
/// Those of a Hugging Face folder, and of a GGUF file, in their order.
std::vector<StoredTensor> folder_tensors(const ModelToSave& model);
std::vector<StoredTensor> gguf_tensors(const ModelToSave& model);

struct GgufTypes {
  std::vector<base::DType> types;  ///< of the model's tensors
  std::uint32_t file_type = 0;     ///< general.file_type
};
/// One tensor's bytes in a type, its heads' rows in the order of a rope style; valid until the next call.
using EncodeTensor = std::function<base::Result<std::span<const std::byte>>(
    const io::TensorEntry& tensor, spec::RopeStyle style, base::DType type)>;
/// The whole file.
base::Status write_model_gguf(const std::string& file, const ModelToSave& model, const GgufTypes& types,
                              const EncodeTensor& encode);

/// A Hugging Face folder around its weights, which `weights` writes into the folder that it is given.
base::Status write_folder(const std::string& folder, const ModelToSave& model,
                          const base::OrderedJson& config,
                          const std::function<base::Status(const std::string&)>& weights);

/// Calls f(worker, workers) on every worker of a team, or once on this thread if there is none. The error of
/// the first that has one.
base::Status on_team(base::Team* team, const std::function<base::Status(int worker, int workers)>& f);

/// Fails with kInvalidArgument unless the tensors are those that a Transformer of the configuration declares.
base::Status check_tensors(const ModelToSave& model);

/// Rows of one tensor in the order that a format wants. Not thread-safe: has a buffer.
class RowReader {
 public:
  /// Heads of q and k are reordered from the configuration's rope style to `style`.
  RowReader(const io::TensorEntry& tensor, const spec::ModelConfig& config, spec::RopeStyle style);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  /// Whether the rows are written as they lie.
  bool in_order() const { return head_dim_ == 0; }
  /// Row `row` of the result, decoded. Fails with kInvalidArgument if it has a number that is not finite or
  /// too large for `type`.
  base::Result<std::span<const float>> read(std::int64_t row, base::DType type);
  /// All bytes, unchanged. Fails as read does. REQUIRES: in_order().
  base::Result<std::span<const std::byte>> as_it_lies();

 private:
  const io::TensorEntry& tensor_;
  std::int64_t rows_ = 1, columns_ = 1, head_dim_ = 0;
  bool to_neighbours_ = false;
  std::vector<float> values_;
};

/// A tensor's bytes as F32, F16 or BF16, by RowReader's order; the tensor's own if they are that already.
base::Result<std::span<const std::byte>> encoded(const io::TensorEntry& tensor,
                                                 const spec::ModelConfig& config, spec::RopeStyle style,
                                                 base::DType type, std::vector<std::byte>& memory);

}  // namespace tw::model
