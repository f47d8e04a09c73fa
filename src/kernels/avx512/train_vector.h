// The 512-bit policy of the kernels of training (train_rows.h). Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/math.h"
#include "kernels/avx512/words.h"

namespace tw::kernels {
namespace {

struct TrainVector : Avx512Words {
  using Floats = __m512;
  static constexpr std::int64_t kLanes = 16;
  // 16 sums, 2 vectors of the right side and a factor fit the 32 registers.
  static constexpr int kTileRows = 8, kTileVectors = 2;

  static __mmask16 mask(std::int64_t lanes) {
    return static_cast<__mmask16>(lanes >= kLanes ? 0xFFFF : (1 << lanes) - 1);
  }
  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats load(const float* p, std::int64_t lanes) { return _mm512_maskz_loadu_ps(mask(lanes), p); }
  static Floats load_or(const float* p, std::int64_t lanes, float other) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(other), mask(lanes), p);
  }
  /// Numbers that are `stride` apart.
  static Floats load_column(const float* p, std::int64_t stride, std::int64_t lanes) {
    const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places = _mm512_mullo_epi32(order, _mm512_set1_epi32(static_cast<int>(stride)));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask(lanes), places, p, 4);
  }
  static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
  static void store(float* p, Floats v, std::int64_t lanes) { _mm512_mask_storeu_ps(p, mask(lanes), v); }
  /// Rounds to nearest even; NaN stays NaN.
  static void store_bf16(std::uint16_t* p, Floats v, std::int64_t lanes) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_mask_storeu_epi16(p, mask(lanes), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
  static Floats all(float x) { return _mm512_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats root(Floats v) { return _mm512_sqrt_ps(v); }
  static Floats exp(Floats x) { return exp_lanes(x); }
  static float sum_of(Floats v) { return _mm512_reduce_add_ps(v); }
  static float largest_of(Floats v) { return _mm512_reduce_max_ps(v); }
};

}  // namespace
}  // namespace tw::kernels
