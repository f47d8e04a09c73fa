// Small models with random weights, for steps that are timed and answers that nobody reads.
#pragma once

#include <cstdint>
#include <string>

#include "base/dtype_enum.h"
#include "base/result.h"

namespace tw::cli {

struct ChainShape {
  std::int64_t layers, width, head_dim, ffn_width;
};

/// A folder of its own among the temporary ones, which goes with the object.
class ChainFolder {
 public:
  static base::Result<ChainFolder> make();
  ChainFolder(ChainFolder&& other) noexcept;
  ChainFolder& operator=(ChainFolder&&) = delete;
  ~ChainFolder();
  const std::string& path() const { return path_; }

 private:
  explicit ChainFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;  ///< empty: moved away
};

/// Writes a GGUF file of the Llama family into `folder`, with weights as files of this type have them, and
/// returns its path. `threads`: for quantizing. Fails with kInvalidArgument for a type that no files are made
/// in.
base::Result<std::string> write_chain_model(const std::string& folder, const ChainShape& shape,
                                            base::DType type, int threads);

}  // namespace tw::cli
