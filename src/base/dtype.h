// The element types of tensors, with GGUF's block formats among them (sizes: ggml's public format description).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tw::base {

/// A type stores `block_elements(t)` values in `block_bytes(t)` bytes; plain types have blocks of one.
enum class DType : std::uint8_t {
  kF32, kF16, kBF16, kI8, kI32, kI64,
  kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0,      ///< blocks of 32 values
  kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,      ///< super-blocks of 256 values
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kQ6_K) + 1;

struct DTypeInfo {
  std::string_view name;  ///< "Q4_K"
  int block_elements;
  int block_bytes;
};
const DTypeInfo& dtype_info(DType type);

inline std::string_view dtype_name(DType type) { return dtype_info(type).name; }
inline bool is_quantized(DType type) { return type >= DType::kQ4_0; }

/// Bytes of a row of n values. REQUIRES: n is a multiple of the block.
inline std::size_t row_bytes(DType type, std::int64_t n) {
  const DTypeInfo& info = dtype_info(type);
  return static_cast<std::size_t>(n / info.block_elements) * info.block_bytes;
}

}  // namespace tw::base
