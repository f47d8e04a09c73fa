// F16 and BF16 weights, which lie in rows as in the file, as bf16 tiles. Everything is internal to the
// including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_tiles.h"
#include "kernels/args.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

/// Up to 16 numbers of 16 bits at p, `left` of them there, the others 0.
inline __m256i load_numbers(const std::uint16_t* p, std::int64_t left) {
  if (left >= 16) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return left <= 0 ? _mm256_setzero_si256()
                   : _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1 << left) - 1), p);
}

/// 32 weights of a row as bf16 pairs (k, k + 16).
template <DType kType>
__m512i weight_pairs(const std::uint16_t* p, std::int64_t left) {
  __m256i low = load_numbers(p, left), high = load_numbers(p + 16, left - 16);
  if constexpr (kType == DType::kF16) {
    low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_cvtph_ps(low)));
    high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_cvtph_ps(high)));
  }
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/// 16 vectors of 16 lanes, columns for rows.
inline void transpose(__m512i* v) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16;
       i += 4) {  // v[i + j] has column 4c + j of rows i .. i + 3 in its part c of 128 bits
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88),
                  b = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xDD);
    const __m512i c = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xDD);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

/// A matrix [N, K] by groups of 16 rows. Rows past N and numbers past K are zero.
template <DType kType>
class RowWeights {
 public:
  RowWeights(const void* data, std::int64_t n, std::int64_t k)
      : data_(static_cast<const std::uint16_t*>(data)), n_(n), k_(k) {}

  const std::uint8_t* tiles(std::int64_t panel, std::int64_t begin, std::int64_t end,
                            std::uint8_t* room) const {
    std::uint8_t* tiles = room;
    for (std::int64_t block = begin; block < end; ++block, tiles += kTileBytes) {
      __m512i v[kRows];
      for (std::int64_t r = 0; r < kRows; ++r) {
        const std::int64_t row = panel * kRows + r, at = block * kPanelBlock;
        v[r] = row < n_ ? weight_pairs<kType>(data_ + row * k_ + at, k_ - at) : _mm512_setzero_si512();
      }
      transpose(v);
      for (int r = 0; r < kRows; ++r) _mm512_store_si512(tiles + r * 64, v[r]);
    }
    return room;
  }
  static constexpr bool kInOnePiece = false;
  void fetch(std::int64_t panel, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t row = panel * kRows; row < n_ && row < (panel + 1) * kRows; ++row) {
      for (std::int64_t at = begin * kPanelBlock; at < end * kPanelBlock && at < k_; at += 32)
        _mm_prefetch(reinterpret_cast<const char*>(data_ + row * k_ + at), _MM_HINT_T1);
    }
  }

 private:
  const std::uint16_t* data_;
  std::int64_t n_, k_;
};

}  // namespace
}  // namespace tw::kernels
