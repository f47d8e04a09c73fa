// What philox_lanes.h asks of a vector, for 256 bits. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tw::kernels {
namespace {

struct Avx2Words {
  using Words = __m256i;

  static Words words(std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  /// first, first + 1, ...
  static Words counting(std::uint32_t first) {
    return _mm256_add_epi32(words(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Words exclusive_or(Words a, Words b) { return _mm256_xor_si256(a, b); }
  /// Both halves of the products.
  static void multiply(Words a, std::uint32_t by, Words& high, Words& low) {
    const Words even = _mm256_mul_epu32(a, words(by)),
                odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), words(by));
    high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }
  /// v where w, without a sign, is at least that; else 0.
  static __m256 where_at_least(Words w, std::uint32_t least, __m256 v) {
    const Words at_least = _mm256_cmpeq_epi32(_mm256_max_epu32(w, words(least)), w);
    return _mm256_and_ps(_mm256_castsi256_ps(at_least), v);
  }
};

}  // namespace
}  // namespace tw::kernels
