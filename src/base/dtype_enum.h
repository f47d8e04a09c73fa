// The element types of tensors, alone: kernel files may include this and nothing that emits code.
#pragma once

#include <cstdint>

namespace tw::base {

/// Plain types first, then GGUF's block formats.
enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kI32,
  kI64,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,  ///< blocks of 32 values
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,  ///< super-blocks of 256 values
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kQ6_K) + 1;

}  // namespace tw::base
