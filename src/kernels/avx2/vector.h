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
  // 4 rows times 2 panels: 8 sums, 2 vectors of weights, one of activations and a product in 16 registers.
  static constexpr int kTile = 4;
  static constexpr const char* kNames[] = {"avx2 panels of 8, bytes", "avx2 panels of 8, nibbles",
                                           "avx2 panels of 8, bits"};

  static Floats zeros() { return _mm256_setzero_ps(); }
  static Floats all(float x) { return _mm256_set1_ps(x); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats plus(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
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
  /// Keeps the compiler from loading it again for each use.
  static Ints in_register(Ints v) {
    __asm__("" : "+x"(v));
    return v;
  }
  static Ints all16(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
  static Ints both(Ints a, Ints b) { return _mm256_and_si256(a, b); }
  static Ints either(Ints a, Ints b) { return _mm256_or_si256(a, b); }
  static Ints differ(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
  template <int kBits>
  static Ints left16(Ints v) {
    return _mm256_slli_epi16(v, kBits);
  }
  template <int kBits>
  static Ints right16(Ints v) {
    return _mm256_srli_epi16(v, kBits);
  }
  template <int kBits>
  static Ints signed_right16(Ints v) {
    return _mm256_srai_epi16(v, kBits);
  }
  static Ints add_products(Ints sum, Ints w, Ints q) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w, q));
  }
};

}  // namespace
}  // namespace tw::kernels
