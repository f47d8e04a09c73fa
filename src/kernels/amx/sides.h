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

/// Tile [row / 16][k / 32]. `kPairRows`: a tile's rows are pairs. `kPassing`: past the caches, where nobody
/// reads it soon.
template <bool kPairRows, bool kPassing>
void make_tile(const SideArgs& a, std::int64_t tile, std::int64_t block) {
  __m512i v[kRows];
  if (a.transposed)
    load_down(a, block * kPanelBlock, tile * kRows, v);
  else
    load_along(a, block * kPanelBlock, tile * kRows, v);
  if (a.transposed != kPairRows) transpose(v);
  auto* to = static_cast<__m512i*>(a.out) + (tile * blocks_of(a.k) + block) * kRows;
  for (int i = 0; i < kRows; ++i) {
    if constexpr (kPassing)
      _mm512_stream_si512(to + i, v[i]);
    else
      _mm512_store_si512(to + i, v[i]);
  }
}

/// In an order in which rows of x are read along.
template <bool kPairRows, bool kPassing>
void make_side(const SideArgs& a) {
  const std::int64_t blocks = blocks_of(a.k), begin = a.begin / kRows, end = tiles_of(a.end);
  if (a.transposed) {
    for (std::int64_t block = 0; block < blocks; ++block)
      for (std::int64_t tile = begin; tile < end; ++tile) make_tile<kPairRows, kPassing>(a, tile, block);
  } else {
    for (std::int64_t tile = begin; tile < end; ++tile)
      for (std::int64_t block = 0; block < blocks; ++block) make_tile<kPairRows, kPassing>(a, tile, block);
  }
  if constexpr (kPassing) _mm_sfence();
}

/// 16 numbers as bf16 in the low halves of lanes.
inline __m512i rounded(__m512 v) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
}

/// Where both left sides of a matrix [rows, columns] go.
struct LeftTiles {
  void *as_is, *transposed;  ///< transposed: null if it is not wanted
  std::int64_t rows, columns;
};

/// Two tiles of x and two of xᵀ, of rows t .. t + 31 and columns c .. c + 31: halves(i, k) has columns
/// c + 16 k .. of row t + i, in the low halves of lanes; of a row that is not there, zeros.
template <typename Halves>
void put_left_tiles(const LeftTiles& to, std::int64_t t, std::int64_t c, const Halves& halves) {
  const std::int64_t across = to.columns / kPanelBlock, down = blocks_of(to.rows);
  auto* as_is = static_cast<__m512i*>(to.as_is) + (t / kRows * across + c / kPanelBlock) * kRows;
  const bool second_half = t / kRows + 1 < tiles_of(to.rows);
  __m512i first[kRows], second[kRows];  // of 16 columns each: lane a column, a pair of rows (t, t + 16)
  for (std::int64_t i = 0; i < kRows; ++i) {
    const __m512i upper[2] = {halves(i, 0), halves(i, 1)},
                  lower[2] = {halves(i + kRows, 0), halves(i + kRows, 1)};
    _mm512_stream_si512(as_is + i, _mm512_or_si512(upper[0], _mm512_slli_epi32(upper[1], 16)));
    if (second_half) {
      _mm512_stream_si512(as_is + across * kRows + i,
                          _mm512_or_si512(lower[0], _mm512_slli_epi32(lower[1], 16)));
    }
    first[i] = _mm512_or_si512(upper[0], _mm512_slli_epi32(lower[0], 16));
    second[i] = _mm512_or_si512(upper[1], _mm512_slli_epi32(lower[1], 16));
  }
  if (to.transposed == nullptr) return;
  auto* transposed = static_cast<__m512i*>(to.transposed) + (c / kRows * down + t / kPanelBlock) * kRows;
  transpose(first);
  transpose(second);
  for (std::int64_t i = 0; i < kRows; ++i) {
    _mm512_stream_si512(transposed + i, first[i]);
    _mm512_stream_si512(transposed + down * kRows + i, second[i]);
  }
}

/// f(t, c) for the blocks of 32 by 32 of rows [begin, end) and so many columns, in the order of rows.
template <typename F>
void for_blocks(std::int64_t begin, std::int64_t end, std::int64_t columns, const F& f) {
  for (std::int64_t t = begin; t < end; t += kPanelBlock)
    for (std::int64_t c = 0; c < columns; c += kPanelBlock) f(t, c);
  _mm_sfence();
}

/// Asks for what comes some blocks after p in the same row.
inline void ask_ahead(const float* p) {
  constexpr std::int64_t kAhead = 128;  // numbers of a row
  _mm_prefetch(reinterpret_cast<const char*>(p + kAhead), _MM_HINT_T0);
}

inline void make_lefts(const LeftSidesArgs& a) {
  for_blocks(a.row_begin, a.row_end, a.columns, [&](std::int64_t t, std::int64_t c) {
    put_left_tiles({a.as_is, a.transposed, a.rows, a.columns}, t, c, [&](std::int64_t i, std::int64_t k) {
      const float* x = a.x + (t + i) * a.stride + c + k * kRows;
      ask_ahead(x);
      return low_halves(x, t + i < a.rows, kRows);
    });
  });
}

}  // namespace
}  // namespace tw::kernels
