// The element types of tensors, alone: kernel files may include this and nothing that emits code.
#pragma once

#include <cstdint>

namespace tw::base {

/// Plain types first, then GGUF's block formats, then palettes.
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
  kPalette4,
  kPalette2,  ///< numbers of entries of a table that kPaletteRows rows share (docs/formats/palette.md)
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kPalette2) + 1;

/// Rows of a palettized matrix that share a table.
inline constexpr std::int64_t kPaletteRows = 16;
/// Bits of a palettized weight: its table has 2^bits entries of F16. 0: another type.
static constexpr int palette_bits(DType type) {
  return type == DType::kPalette4 ? 4 : type == DType::kPalette2 ? 2 : 0;
}

}  // namespace tw::base
