#include "infer/paged_kv.h"

#include "base/dtype.h"
#include "spec/serve_config.h"

namespace tw::infer {
namespace {

/// Bytes of one layer's keys (or values) in one block.
std::size_t plane_bytes(const spec::ModelConfig& c, base::DType type) {
  return static_cast<std::size_t>(c.kv_heads * kernels::kv_head_elements(type, c.head_dim) *
                                  kernels::kv_element_bytes(type));
}

}  // namespace

std::size_t PagedKv::block_bytes(const spec::ModelConfig& c, base::DType type) {
  return plane_bytes(c, type) * 2 * c.layers;
}

base::Result<PagedKv> PagedKv::create(const spec::ModelConfig& c, std::int64_t blocks, std::int64_t longest,
                                      base::DType type) {
  if (spec::kv_type_name(type).empty()) {
    return base::error(base::Code::kInvalidArgument,
                       "keys and values cannot be stored as {}: choose f16, bf16, int8 or f32",
                       base::dtype_name(type));
  }
  PagedKv kv;
  kv.bytes_per_token_ = static_cast<std::int64_t>(block_bytes(c, type)) / kBlockTokens;
  TW_ASSIGN_OR_RETURN(kv.memory_,
                      tensor::Buffer::allocate(block_bytes(c, type) * blocks, "keys and values (--kv-memory)",
                                               tensor::Pages::kSmall));
  kv.view_.longest = longest;
  const std::size_t plane = plane_bytes(c, type) * blocks;
  std::byte* next = kv.memory_.data();
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    kv.view_.layers.push_back({next, next + plane, type, kBlockTokens, c.kv_heads, c.head_dim});
    next += 2 * plane;
  }
  return kv;
}

}  // namespace tw::infer
