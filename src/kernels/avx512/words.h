// What philox_lanes.h asks of a vector, for 512 bits. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tw::kernels {
namespace {

struct Avx512Words {
  using Words = __m512i;

  static Words words(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  /// first, first + 1, ...
  static Words counting(std::uint32_t first) {
    return _mm512_add_epi32(words(first),
                            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
  static Words exclusive_or(Words a, Words b) { return _mm512_xor_si512(a, b); }
  /// Both halves of the products.
  static void multiply(Words a, std::uint32_t by, Words& high, Words& low) {
    const Words even = _mm512_mul_epu32(a, words(by)),
                odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), words(by));
    high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  }
  /// v where w, without a sign, is at least that; else 0.
  static __m512 where_at_least(Words w, std::uint32_t least, __m512 v) {
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(w, words(least)), v);
  }
};

}  // namespace
}  // namespace tw::kernels
