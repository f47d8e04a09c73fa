// The packed layout of quantized weights: panels of R output rows (R lanes of a vector), so that one
// multiply-add works on R outputs and no sum runs across lanes. Drawn in docs/kernels.md. Constants only:
// kernel files may include it.
//
// A panel is K/32 blocks one after the other. A block is its scales and then its weights, in a plane or two
// of 8, 4, 2 or 1 bits of each (low_plane_bits):
//   plane of b bits:   for v in 0..b-1: R x 4 bytes; bits bs .. bs+b-1 of byte i of row r: k = 4(bs + v) + i
//   so bytes:          R x 4 bytes for j in 0..7; byte i of row r holds k = 4j+i
//   and nibbles:       R x 4 bytes for j in 0..3; byte i of row r holds k = 4j+i low and k = 16+4j+i high
//   scales, plain:     d[R] f16, then m[R] f16 if the type has minimums: value = d * (q - offset) + m
//   scales, super:     s[R] int8 (twice for blocks of 16), then n[R] uint8 (twice) if it has minimums:
//                      value = (d * s) * (q - offset) - (dmin * n)
// Eight blocks of a super type follow a header d[R] f16 (and dmin[R] f16).
// The scales are the file's own: nothing is rounded when packing.
//
// A panel of a palettized type is its table, 16 fp32 (of 4 entries: four times), and then blocks of 32
// columns, the last one filled up: 4 bits as nibbles above, 2 bits R x 8 bytes:
//   for j in 0..1: R x 4 bytes, one number a row: bits 4i, 4i+1 hold k = 8j+i, bits 4i+2, 4i+3 k = 16+8j+i
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"

namespace tw::kernels {

struct PanelFormat {
  int bits;     ///< of a stored number: 8, an int8; or 2 to 6, unsigned
  int offset;   ///< subtracted from the stored number: half of its range if there are no minimums, else 0
  bool super;   ///< scales of super-blocks
  bool halves;  ///< scales for every 16 values; else for every 32
  bool minimums;
};

/// REQUIRES: a quantized type, not a palettized one.
static constexpr PanelFormat panel_format(base::DType type) {
  using base::DType;
  switch (type) {
    case DType::kQ4_0:
      return {4, 8, false, false, false};
    case DType::kQ4_1:
      return {4, 0, false, false, true};
    case DType::kQ5_0:
      return {5, 16, false, false, false};
    case DType::kQ5_1:
      return {5, 0, false, false, true};
    case DType::kQ2_K:
      return {2, 0, true, true, true};
    case DType::kQ3_K:
      return {3, 4, true, true, false};
    case DType::kQ4_K:
      return {4, 0, true, false, true};
    case DType::kQ5_K:
      return {5, 0, true, false, true};
    case DType::kQ6_K:
      return {6, 32, true, true, false};
    default:
      return {8, 0, false, false, false};  // Q8_0
  }
}

/// f.operator()<type>() for each of these types.
template <typename F>
inline void for_panel_types(const F& f) {
  using base::DType;
  f.template operator()<DType::kQ4_0>();
  f.template operator()<DType::kQ4_1>();
  f.template operator()<DType::kQ5_0>();
  f.template operator()<DType::kQ5_1>();
  f.template operator()<DType::kQ8_0>();
  f.template operator()<DType::kQ2_K>();
  f.template operator()<DType::kQ3_K>();
  f.template operator()<DType::kQ4_K>();
  f.template operator()<DType::kQ5_K>();
  f.template operator()<DType::kQ6_K>();
}

/// Bits of a number's low plane; the rest of its bits are another plane, which follows.
static constexpr int low_plane_bits(int bits) {
  return bits == 8 ? 8 : bits >= 4 ? 4 : 2;
}

constexpr int kPanelBlock = 32;
/// Goes up with every change of this layout: files of packed weights of another version are not used.
constexpr std::uint32_t kPackingVersion = 2;

/// Bytes of one block's scales, for panels of `rows`.
static constexpr std::int64_t panel_scale_bytes(PanelFormat f, int rows) {
  const int pairs = f.minimums ? 2 : 1;
  return f.super ? rows * pairs * (f.halves ? 2 : 1) : rows * pairs * 2;
}
static constexpr std::int64_t panel_weight_bytes(PanelFormat f, int rows) {
  return rows * kPanelBlock * f.bits / 8;
}
static constexpr std::int64_t panel_header_bytes(PanelFormat f, int rows) {
  return f.super ? rows * 2 * (f.minimums ? 2 : 1) : 0;
}
/// Where a block's scales begin in its panel; its numbers follow them, and a super type's header lies before
/// each eight blocks.
static constexpr std::int64_t panel_block_at(PanelFormat f, int rows, std::int64_t block) {
  return block * (panel_scale_bytes(f, rows) + panel_weight_bytes(f, rows)) +
         (f.super ? (block / 8 + 1) * panel_header_bytes(f, rows) : 0);
}
static constexpr std::int64_t panel_header_at(PanelFormat f, int rows, std::int64_t block) {
  return panel_block_at(f, rows, block / 8 * 8) - panel_header_bytes(f, rows);
}
/// Bytes of a panel of K columns.
static constexpr std::int64_t panel_bytes(PanelFormat f, int rows, std::int64_t k) {
  const std::int64_t blocks = k / kPanelBlock;
  return blocks * (panel_scale_bytes(f, rows) + panel_weight_bytes(f, rows)) +
         blocks / 8 * panel_header_bytes(f, rows);
}

constexpr std::int64_t kPaletteTable = 64;  ///< bytes of a panel's table
static constexpr std::int64_t palette_panel_bytes(int bits, int rows, std::int64_t k) {
  return kPaletteTable + (k + kPanelBlock - 1) / kPanelBlock * rows * (kPanelBlock / 8 * bits);
}
/// Of a block's 32 codes in their order (32 / bits in a row's first number, from its low bits on, then those
/// of the next): the column.
static constexpr int palette_column(int bits, int code) {
  const int each = 32 / bits, in_number = code % each;
  return code / each * (each / 2) + in_number / 2 + in_number % 2 * 16;
}

/// Activations for these kernels: 16-bit integers X, x = scale * X with one scale for every 32, each X as two
/// int8: X = kPlaneBase * high + low. One int8 alone would be an error of 0.4 % of a block's largest value,
/// which is enough to turn close decisions of small models; two cost nothing where reading the weights is
/// what takes the time. A row: for every 32 values high[32], low[32], or where a set multiplies in words
/// X[32] as int16, each four in the order 0, 2, 1, 3; then these arrays; padded to a multiple of 64 bytes.
///   scales fp32 [K/32], sums fp32 [K/32], biases int32 [K/32], sums fp32 [K/16], biases int32 [K/16]
/// A sum is the scaled sum of X over 32 or 16 values, a bias is -kCenter times the sum of X: what signed
/// weights owe when they are multiplied as unsigned bytes, kCenter higher.
constexpr int kPlaneBase = 256;
constexpr int kLargestActivation = kPlaneBase * 127 + 127;
constexpr int kCenter = 128;
/// The same with X = 16 * high + low, |low| <= 8: what byte tiles multiply with nibbles, since 16 times a
/// nibble is a byte still and both planes then go into one sum. An error of 0.012 % of a block's largest
/// value.
constexpr int kNarrowBase = 16;
constexpr int kLargestNarrowActivation = kNarrowBase * 127 + 7;
static constexpr std::int64_t activation_scales_at(std::int64_t k) {
  return 2 * k;
}
static constexpr std::int64_t activation_sums_at(std::int64_t k, bool halves) {
  return 2 * k + k / 32 * (halves ? 12 : 4);
}
static constexpr std::int64_t activation_biases_at(std::int64_t k, bool halves) {
  return 2 * k + k / 32 * (halves ? 20 : 8);
}
static constexpr std::int64_t activation_row_bytes(std::int64_t k) {
  return (2 * k + k / 32 * 28 + 63) / 64 * 64;
}

}  // namespace tw::kernels
