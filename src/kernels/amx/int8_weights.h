// Quantized weights rounded to bytes, from panels (panels.h), with a scale for each output row and stretch of
// K. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/panel_numbers.h"

namespace tw::kernels {
namespace {

/// Columns of K in a tile of bytes: two blocks of a panel.
constexpr std::int64_t kTileColumns = 2 * kPanelBlock;

/// Each lane's two words: the same number, rounded.
__m512i in_words(__m512 v) {
  const __m512i numbers = _mm512_cvtps_epi32(v);
  return _mm512_mask_blend_epi16(0xAAAAAAAA, numbers, _mm512_slli_epi32(numbers, 16));
}

/// A block's scales and minimums in units of the byte's scale: `factor` times
/// 2^(15 - up_in_word), in words, of the
/// first and of the second half.
struct ByteScales {
  __m512i factor[2], minimum[2];
};

/// Rounded products of words and 2^-15: kept precise by numbers as far up as factors of up to 254 / (2^bits -
/// 1) leave room for.
constexpr int up_in_word(PanelFormat f) {
  return f.bits == 8 ? 0 : 9 - f.bits;
}

template <DType kType>
ByteScales byte_scales(const Scales& s, __m512 inverse) {
  constexpr PanelFormat f = panel_format(kType);
  ByteScales bytes;
  const __m512 unit = _mm512_mul_ps(inverse, _mm512_set1_ps(1 << (15 - up_in_word(f))));
  for (int h = 0; h < (f.halves ? 2 : 1); ++h) {
    bytes.factor[h] = in_words(_mm512_mul_ps(s.scale[h], unit));
    if constexpr (f.minimums) bytes.minimum[h] = in_words(_mm512_mul_ps(s.minimum[h], inverse));
  }
  return bytes;
}

/// 64 stored numbers, unsigned bytes, as weights of 8 bits.
template <DType kType>
__m512i requantize(__m512i numbers, __m512i factor, __m512i minimum) {
  constexpr PanelFormat f = panel_format(kType);
  __m512i even = _mm512_and_si512(numbers, _mm512_set1_epi16(0xFF)), odd = _mm512_srli_epi16(numbers, 8);
  if constexpr (!f.minimums) {
    const __m512i offset = _mm512_set1_epi16(static_cast<short>(offset_of(f)));
    even = _mm512_sub_epi16(even, offset), odd = _mm512_sub_epi16(odd, offset);
  }
  if constexpr (up_in_word(f) > 0)
    even = _mm512_slli_epi16(even, up_in_word(f)), odd = _mm512_slli_epi16(odd, up_in_word(f));
  even = _mm512_mulhrs_epi16(even, factor), odd = _mm512_mulhrs_epi16(odd, factor);
  if constexpr (f.minimums) even = _mm512_add_epi16(even, minimum), odd = _mm512_add_epi16(odd, minimum);
  return _mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAA, even, _mm512_slli_epi16(odd, 8));
}

/// A packed matrix [N, K] by its panels. A tile is 16 rows of four k for 16 output rows.
template <DType kType>
class ByteWeights {
 public:
  ByteWeights(const void* data, std::int64_t, std::int64_t k)
      : data_(static_cast<const std::uint8_t*>(data)),
        bytes_(panel_bytes(f, kRows, k)),
        blocks_(k / kPanelBlock),
        tiles_((k + kTileColumns - 1) / kTileColumns) {}

  /// Tiles [begin, end) of a panel, made in `room`, and the scale of each output row.
  void tiles(std::int64_t panel, std::int64_t begin, std::int64_t end, std::uint8_t* room,
             float* scales) const {
    const std::uint8_t* const p = data_ + panel * bytes_;
    const std::int64_t last = 2 * end < blocks_ ? 2 * end : blocks_;
    __m512 largest = _mm512_setzero_ps(), damage = _mm512_setzero_ps();  // of scales that are no numbers: NaN
    for (std::int64_t block = 2 * begin; block < last; ++block) {
      const __m512 of_block = largest_of(scales_of<kType>(p, block));
      largest = _mm512_max_ps(largest, of_block);
      damage = _mm512_add_ps(damage, _mm512_sub_ps(of_block, of_block));
    }
    // The sum of two rounded numbers must not pass 127.
    largest = _mm512_mul_ps(largest, _mm512_set1_ps(1.004F));
    _mm512_store_ps(scales, _mm512_fmadd_ps(largest, _mm512_set1_ps(1.0F / 127), damage));
    const __mmask16 there = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 inverse = _mm512_maskz_div_ps(there, _mm512_set1_ps(127), largest);
    for (std::int64_t block = 2 * begin; block < 2 * end; ++block, room += kTileBytes / 2) {
      if (block < last)
        make_half(numbers_of<kType>(p, block), byte_scales<kType>(scales_of<kType>(p, block), inverse), room);
      else
        for (int j = 0; j < 8; ++j) _mm512_store_si512(room + 64 * j, _mm512_setzero_si512());
    }
  }
  static constexpr bool kInOnePiece = true;
  const std::uint8_t* from(std::int64_t panel, std::int64_t begin) const {
    return data_ + panel * bytes_ + bytes_ * begin / tiles_;
  }
  std::int64_t bytes(std::int64_t begin, std::int64_t end) const { return bytes_ * (end - begin) / tiles_; }

 private:
  static constexpr PanelFormat f = panel_format(kType);
  /// No weight of a block is larger; NaN if a scale is none.
  static __m512 largest_of(const Scales& s) {
    const __m512 top = _mm512_set1_ps((1 << f.bits) - 1);
    __m512 largest = _mm512_setzero_ps(), damage = _mm512_setzero_ps();
    for (int h = 0; h < (f.halves ? 2 : 1); ++h) {
      const __m512 high = _mm512_fmadd_ps(s.scale[h], top, s.minimum[h]);
      largest = _mm512_max_ps(largest, _mm512_max_ps(_mm512_abs_ps(s.minimum[h]), _mm512_abs_ps(high)));
      damage = _mm512_add_ps(damage, _mm512_sub_ps(high, high));
    }
    return _mm512_add_ps(largest, damage);
  }
  static void make_half(const std::uint8_t* p, const ByteScales& s, std::uint8_t* tile) {
    repeat<8>([&](auto j) {
      constexpr int h = f.halves && j.value >= 4 ? 1 : 0;
      _mm512_store_si512(tile + 64 * j.value,
                         requantize<kType>(number_bytes<kType, j.value>(p), s.factor[h], s.minimum[h]));
    });
  }

  const std::uint8_t* data_;
  std::int64_t bytes_, blocks_, tiles_;
};

}  // namespace
}  // namespace tw::kernels
