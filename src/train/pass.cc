#include "train/pass.h"

namespace tw::train {
namespace {

std::int64_t blocks_of(std::int64_t tokens) {
  return (tokens + kernels::kKvBlock - 1) / kernels::kKvBlock;
}

}  // namespace

base::DType learning_cache_type(const kernels::Table& table, base::DType type, bool drops_weights) {
  const bool rounds = type == base::DType::kBF16 && table.bf16_prompts() && !drops_weights;
  return rounds ? base::DType::kBF16 : base::DType::kF32;
}

base::Status Pass::load(const TrainBatch& from, const ops::LowRank* adapter) {
  const spec::ModelConfig& c = *config_;
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < from.documents(); ++i)
    blocks += blocks_of(from.offsets[i + 1] - from.offsets[i]);
  for (auto i = std::ssize(blocks_); i < blocks; ++i) blocks_.push_back(static_cast<std::int32_t>(i));
  const std::int64_t head = kernels::kv_head_elements(type_, c.head_dim) * kernels::kv_element_bytes(type_);
  const std::size_t plane = blocks * c.kv_heads * head;
  if (cache_.size() < 2 * plane) {
    TW_ASSIGN_OR_RETURN(cache_, tensor::Buffer::allocate(2 * plane, "a training step's keys and values"));
  }
  kv_.longest = (rows_ + 15) / 16 * 16;
  kv_.layers.assign(c.layers, {cache_.data(), cache_.data() + cache_.size() / 2, type_, kernels::kKvBlock,
                               c.kv_heads, c.head_dim});
  batch_.clear();
  blocks = 0;
  for (std::int64_t i = 0; i < from.documents(); ++i) {
    const std::int64_t begin = from.offsets[i], count = from.offsets[i + 1] - begin;
    batch_.add(std::span(from.tokens).subspan(begin, count), 0, blocks_.data() + blocks, false, adapter);
    blocks += blocks_of(count);
  }
  for (std::int64_t row = 0; row < from.rows(); ++row) batch_.want(row);
  return base::Ok{};
}

base::Status Pass::load_worst(const ops::LowRank* adapter) {
  const std::int64_t rows = (rows_ + 15) / 16 * 16;
  TrainBatch worst;
  worst.tokens.assign(rows, 0);
  worst.offsets = {0, static_cast<std::int32_t>(rows)};
  return load(worst, adapter);
}

}  // namespace tw::train
