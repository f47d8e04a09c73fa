// The vector policy of panel_matmul.h for 256 bits: panels of 8 rows.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tw::kernels {
namespace {

struct Avx2Vector {
  using Floats = __m256;
  using Ints = __m256i;
  static constexpr int kRows = 8;
  // 8 unpacked vectors, 4 sums and temporaries fill the 16 registers.
  static constexpr int kTile = 4;
  static constexpr bool kDot = false;
  static constexpr const char* kBytesName = "avx2 panels of 8, bytes";
  static constexpr const char* kNibblesName = "avx2 panels of 8, nibbles";

  static Floats zeros() { return _mm256_setzero_ps(); }
  static Floats all(float x) { return _mm256_set1_ps(x); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
  static Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
  static Floats halves(const std::uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Floats signed_bytes(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats bytes(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }

  static Ints zero_ints() { return _mm256_setzero_si256(); }
  static Ints load(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Ints four(const std::int8_t* q) {
    return _mm256_set1_epi32(*reinterpret_cast<const std::int32_t*>(q));
  }
  static Ints low_nibbles(Ints v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Ints high_nibbles(Ints v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
  static Ints flip_signs(Ints v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }
  static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  static Ints madd(Ints a, Ints b) { return _mm256_madd_epi16(a, b); }
  static Ints add16(Ints a, Ints b) { return _mm256_add_epi16(a, b); }
  static Ints maddubs(Ints w, Ints q) { return _mm256_maddubs_epi16(w, q); }
  static Ints ones16() { return _mm256_set1_epi16(1); }
  static Ints even_bytes(Ints v) { return _mm256_and_si256(v, _mm256_set1_epi16(0xFF)); }
  static Ints odd_bytes(Ints v) { return _mm256_srli_epi16(v, 8); }
  static Ints even_signed(Ints v) { return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8); }
  static Ints odd_signed(Ints v) { return _mm256_srai_epi16(v, 8); }
};

}  // namespace
}  // namespace tw::kernels
