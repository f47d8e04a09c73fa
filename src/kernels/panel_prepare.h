// fp32 activations into 15-bit integers in two planes (panels.h), with 256-bit vectors; needs AVX2 and FMA. Everything is
// internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/args.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

inline float largest_magnitude(const float* x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 m = _mm256_andnot_ps(sign, _mm256_loadu_ps(x));
  for (int i = 8; i < kPanelBlock; i += 8)
    m = _mm256_max_ps(m, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)));
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

inline __m128i narrow(__m256i a, __m256i b) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/// 16 values to integers X, in two planes; returns the sum of X.
inline int quantize16(const float* x, __m256 inverse, std::int8_t* high, std::int8_t* low) {
  const __m256 to_high = _mm256_set1_ps(1.0F / kPlaneBase);
  const __m256i base = _mm256_set1_epi32(kPlaneBase);
  __m256i total = _mm256_setzero_si256(), h[2], l[2];
  for (int i = 0; i < 2; ++i) {
    const __m256i value = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
    h[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(value), to_high));
    l[i] = _mm256_sub_epi32(value,
                            _mm256_mullo_epi32(h[i], base));  // within +-127, since h is rounded to nearest
    total = _mm256_add_epi32(total, value);
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), narrow(h[0], h[1]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(low), narrow(l[0], l[1]));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

/// Each 32 values: scale = largest magnitude / kLargestActivation, rounded to nearest.
inline void prepare(const PrepareArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.x_stride;
    auto* q = static_cast<std::int8_t*>(a.prepared) + t * activation_row_bytes(a.k);
    auto* scales = reinterpret_cast<float*>(q + activation_scales_at(a.k));
    auto* sums = reinterpret_cast<float*>(q + activation_sums_at(a.k));
    for (std::int64_t block = 0; block < a.k / kPanelBlock; ++block) {
      const float largest = largest_magnitude(x + block * kPanelBlock);
      const float scale = largest / kLargestActivation;
      const __m256 inverse = _mm256_set1_ps(largest > 0 ? kLargestActivation / largest : 0.0F);
      scales[block] = scale;
      for (int h = 0; h < 2; ++h) {
        std::int8_t* high = q + block * 2 * kPanelBlock + h * 16;
        const int sum = quantize16(x + block * kPanelBlock + h * 16, inverse, high, high + kPanelBlock);
        sums[2 * block + h] = scale * static_cast<float>(sum);
      }
    }
  }
}

}  // namespace
}  // namespace tw::kernels
