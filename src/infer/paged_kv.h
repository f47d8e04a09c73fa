// The pool of KV blocks: memory for the keys and values of all layers, cut into blocks of equal size. Which
// sequence holds which block is sched's business.
#pragma once

#include "model/batch.h"
#include "spec/model_config.h"
#include "tensor/memory.h"

namespace tw::infer {

inline constexpr int kBlockTokens = static_cast<int>(kernels::kKvBlock);

class PagedKv {
 public:
  /// Bytes that one block takes over all layers: numbers, and the scales that some types need.
  static std::size_t block_bytes(const spec::ModelConfig& config, base::DType type);

  /// Reserves `blocks` blocks; pages are touched only as blocks are first used. Error: keys and values cannot
  /// be stored in this type.
  static base::Result<PagedKv> create(const spec::ModelConfig& config, std::int64_t blocks,
                                      std::int64_t longest, base::DType type);

  const model::KvView& view() const { return view_; }
  std::int64_t bytes_per_token() const { return bytes_per_token_; }
  std::size_t bytes() const { return memory_.size(); }

 private:
  tensor::Buffer memory_;
  model::KvView view_;
  std::int64_t bytes_per_token_ = 0;
};

}  // namespace tw::infer
