#include "infer/paged_kv.h"

namespace tw::infer {
namespace {

/// Bytes of one layer's keys (or values) in one block.
std::size_t plane_bytes(const spec::ModelConfig& c, bool f32) {
  return static_cast<std::size_t>(c.kv_width()) * kBlockTokens * (f32 ? 4 : 2);
}

}  // namespace

std::size_t PagedKv::block_bytes(const spec::ModelConfig& c, bool f32) {
  return plane_bytes(c, f32) * 2 * c.layers;
}

base::Result<PagedKv> PagedKv::create(const spec::ModelConfig& c, std::int64_t blocks, std::int64_t longest,
                                      bool f32) {
  PagedKv kv;
  TW_ASSIGN_OR_RETURN(kv.memory_,
                      tensor::Buffer::allocate(block_bytes(c, f32) * blocks, "keys and values (--kv-memory)",
                                               tensor::Pages::kSmall));
  kv.view_.longest = longest;
  const std::size_t plane = plane_bytes(c, f32) * blocks;
  std::byte* next = kv.memory_.data();
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    kv.view_.layers.push_back({next, next + plane, f32 ? base::DType::kF32 : base::DType::kF16, kBlockTokens,
                               c.kv_heads, c.head_dim});
    next += 2 * plane;
  }
  return kv;
}

}  // namespace tw::infer
