// Both sides of a product as bf16 tiles, from fp32. Everything is internal to the including file.
//
// A tile of a left side is 16 rows of 32 numbers in the order of pairs (k, k + 16); one of a right side is 16
// rows of such pairs for 16 outputs, which from a matrix whose rows run across K is two rows put together.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_product.h"
#include "kernels/amx/bf16_rows.h"

namespace tw::kernels {
namespace {

inline std::int64_t tiles_of(std::int64_t rows) {
  return (rows + kRows - 1) / kRows;
}

/// 16 numbers of a row of fp32 as bf16 in the low halves of lanes; `left` of them are there, and the row may
/// not be.
inline __m512i low_halves(const float* x, bool there, std::int64_t left) {
  const __mmask16 mask = there ? lanes(left) : 0;
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x))));
}

/// Rows k .. k + 31 of x [K, R], columns r .. r + 15: 16 vectors of pairs (k, k + 16), a lane a column.
inline void load_down(const SideArgs& a, std::int64_t k, std::int64_t r, __m512i* v) {
  for (std::int64_t i = 0; i < kRows; ++i) {
    const float* x = a.x + (k + i) * a.stride + r;
    const __m512i low = low_halves(x, k + i < a.k, a.rows - r);
    const __m512i high = low_halves(x + kRows * a.stride, k + kRows + i < a.k, a.rows - r);
    v[i] = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
}

/// Rows r .. r + 15 of x [R, K], columns k .. k + 31: the same, a vector a row and a lane a pair.
inline void load_along(const SideArgs& a, std::int64_t k, std::int64_t r, __m512i* v) {
  for (std::int64_t i = 0; i < kRows; ++i)
    v[i] = r + i < a.rows ? pairs(a.x + (r + i) * a.stride + k, a.k - k) : _mm512_setzero_si512();
}

/// Tile [row / 16][k / 32], past the caches: whole lines that nobody reads soon. `kPairRows`: a tile's rows
/// are pairs.
template <bool kPairRows>
void make_tile(const SideArgs& a, std::int64_t tile, std::int64_t block) {
  __m512i v[kRows];
  if (a.transposed)
    load_down(a, block * kPanelBlock, tile * kRows, v);
  else
    load_along(a, block * kPanelBlock, tile * kRows, v);
  if (a.transposed != kPairRows) transpose(v);
  auto* to = static_cast<__m512i*>(a.out) + (tile * blocks_of(a.k) + block) * kRows;
  for (int i = 0; i < kRows; ++i) _mm512_stream_si512(to + i, v[i]);
}

/// In an order in which rows of x are read along.
template <bool kPairRows>
void make_side(const SideArgs& a) {
  const std::int64_t blocks = blocks_of(a.k), begin = a.begin / kRows, end = tiles_of(a.end);
  if (a.transposed) {
    for (std::int64_t block = 0; block < blocks; ++block)
      for (std::int64_t tile = begin; tile < end; ++tile) make_tile<kPairRows>(a, tile, block);
  } else {
    for (std::int64_t tile = begin; tile < end; ++tile)
      for (std::int64_t block = 0; block < blocks; ++block) make_tile<kPairRows>(a, tile, block);
  }
  _mm_sfence();
}

}  // namespace
}  // namespace tw::kernels
