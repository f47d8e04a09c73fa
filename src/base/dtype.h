// The element types of tensors, with GGUF's block formats among them (sizes: ggml's public format
// description).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/dtype_enum.h"

namespace tw::base {

/// A type stores `block_elements` values in `block_bytes` bytes; plain types have blocks of one.
struct DTypeInfo {
  std::string_view name;  ///< "Q4_K"
  int block_elements;
  int block_bytes;
};
const DTypeInfo& dtype_info(DType type);

inline std::string_view dtype_name(DType type) {
  return dtype_info(type).name;
}
inline bool is_quantized(DType type) {
  return type >= DType::kQ4_0;
}

/// Bytes of a row of n values. REQUIRES: n is a multiple of the block.
inline std::size_t row_bytes(DType type, std::int64_t n) {
  const DTypeInfo& info = dtype_info(type);
  return static_cast<std::size_t>(n / info.block_elements) * info.block_bytes;
}

}  // namespace tw::base
