// Where a file has a parameter: families that fuse linear layers, or keep them the other way round, have it
// as a part of a tensor. Inside this folder.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.h"
#include "tensor/memory.h"

namespace tw::model {

struct TensorPlace {
  std::string name;
  std::int64_t part = 0, parts = 1;  ///< of the outputs of a linear layer, all of one size
  bool transposed = false;           ///< the file has [in, out]
  bool stacked = false;              ///< the file has [parts, out, in]: one matrix an expert
  std::string alone = {};            ///< of `stacked`: its name where each expert has a tensor of its own
  bool row = false;                  ///< a vector that the file may have as a matrix [1, n]
};

/// The place of a parameter in a folder of a family, by Hugging Face's name of that. `gpt2_prefix` is what
/// names of GPT-2 begin with, whose layers are "transformers.Conv1D".
TensorPlace folder_place(std::string_view family, const std::string& parameter, std::string_view gpt2_prefix);
/// The same in a GGUF file, of layers with so many experts.
TensorPlace gguf_place(std::string_view family, std::int64_t experts, const std::string& parameter);

/// The shape that the file's whole tensor has where the parameter, at this place of it, has `shape`.
std::vector<std::int64_t> shape_in_file(const TensorPlace& place, std::vector<std::int64_t> shape);

/// to [columns, rows] = columns [first, first + columns) of from [rows, stride], numbers of `type`, a plain
/// one.
void transpose_plain(base::DType type, const std::byte* from, std::int64_t rows, std::int64_t stride,
                     std::int64_t first, std::int64_t columns, std::byte* to);

/// Parts of a file's tensors as tensors of their own: views where the bytes lie together, else copies, made
/// when first asked for. Thread-safe; what it hands out lives as long as it does.
class TensorParts {
 public:
  /// `whole` itself where the place is all of it. Fails with kCorrupt, naming `where`, when it cannot be
  /// divided so.
  base::Result<const io::TensorEntry*> get(const TensorPlace& place, const io::TensorEntry& whole,
                                           const std::string& where);

 private:
  struct Part {
    io::TensorEntry entry;
    tensor::Buffer copy;
  };
  static base::Result<std::unique_ptr<Part>> make(const TensorPlace& place, const io::TensorEntry& whole,
                                                  const std::string& where);

  std::mutex mutex_;
  std::map<std::pair<std::string, std::int64_t>, std::unique_ptr<Part>> parts_;
};

}  // namespace tw::model
