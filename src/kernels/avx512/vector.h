// The vector policy of panel_matmul.h for 512 bits: panels of 16 rows.
#pragma once

#include <cstdint>

#include "kernels/avx512/intrinsics.h"

namespace tw::kernels {
namespace {

struct Avx512Vector {
  using Floats = __m512;
  using Ints = __m512i;
  static constexpr int kRows = 16;
  // 8 rows times 2 panels: 16 sums, 2 vectors of weights, one of activations and a product in 32 registers.
  static constexpr int kTile = 8;
  static constexpr const char* kNames[] = {"avx512 panels of 16, bytes", "avx512 panels of 16, nibbles",
                                           "avx512 panels of 16, bits"};

  static Floats zeros() { return _mm512_setzero_ps(); }
  static Floats all(float x) { return _mm512_set1_ps(x); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats plus(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
  static Floats to_floats(Ints v) { return floats_of(v); }
  static Floats halves(const std::uint8_t* p) { return floats_of_halves(p); }
  static Floats signed_bytes(const std::uint8_t* p) { return floats_of_signed_bytes(p); }
  static Floats bytes(const std::uint8_t* p) { return floats_of_bytes(p); }

  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Ints load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static Ints four(const std::int8_t* q) {
    return _mm512_set1_epi32(*reinterpret_cast<const std::int32_t*>(q));
  }
  static Ints in_register(Ints v) { return kernels::in_register(v); }
  static Ints all16(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
  static Ints both(Ints a, Ints b) { return _mm512_and_si512(a, b); }
  static Ints either(Ints a, Ints b) { return _mm512_or_si512(a, b); }
  static Ints differ(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
  template <int kBits>
  static Ints left16(Ints v) {
    return _mm512_slli_epi16(v, kBits);
  }
  template <int kBits>
  static Ints right16(Ints v) {
    return _mm512_srli_epi16(v, kBits);
  }
  template <int kBits>
  static Ints signed_right16(Ints v) {
    return _mm512_srai_epi16(v, kBits);
  }
  static Ints add_products(Ints sum, Ints w, Ints q) { return _mm512_add_epi32(sum, multiply_words(w, q)); }
};

}  // namespace
}  // namespace tw::kernels
