// fp32 activations into 15-bit integers (panels.h), with 256-bit vectors; needs AVX2 and FMA. Everything is
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

inline __m256i narrow(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

inline __m128i narrow(__m256i words) {
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

inline int sum_lanes(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

/// 16 integers X as planes, the low one 32 bytes after the high one.
inline void store_planes(const __m256i* x, std::int8_t* high) {
  const __m256 to_high = _mm256_set1_ps(1.0F / kPlaneBase);
  __m256i h[2], l[2];
  for (int i = 0; i < 2; ++i) {
    h[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(x[i]), to_high));
    // Within +-127, since h is rounded to nearest.
    l[i] = _mm256_sub_epi32(x[i], _mm256_mullo_epi32(h[i], _mm256_set1_epi32(kPlaneBase)));
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), narrow(narrow(h[0], h[1])));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high + kPanelBlock), narrow(narrow(l[0], l[1])));
}

/// 16 integers X as words, each four in the order 0, 2, 1, 3.
inline void store_words(const __m256i* x, std::int8_t* out) {
  const __m256i words = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(narrow(x[0], x[1]), 0xD8), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), words);
}

/// Each 32 values: scale = largest magnitude / kLargestActivation, rounded to nearest.
template <bool kPlanes>
void prepare_block(const float* x, std::int8_t* q, float* scale, float* sums) {
  const float largest = largest_magnitude(x);
  const __m256 inverse = _mm256_set1_ps(largest > 0 ? kLargestActivation / largest : 0.0F);
  *scale = largest / kLargestActivation;
  for (int h = 0; h < 2; ++h) {
    __m256i v[2];
    for (int i = 0; i < 2; ++i) {
      v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h + 8 * i), inverse));
    }
    if constexpr (kPlanes)
      store_planes(v, q + 16 * h);
    else
      store_words(v, q + 32 * h);
    sums[h] = *scale * static_cast<float>(sum_lanes(_mm256_add_epi32(v[0], v[1])));
  }
}

template <bool kPlanes>
void prepare(const PrepareArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.x_stride;
    auto* q = static_cast<std::int8_t*>(a.prepared) + t * activation_row_bytes(a.k);
    auto* scales = reinterpret_cast<float*>(q + activation_scales_at(a.k));
    auto* sums = reinterpret_cast<float*>(q + activation_sums_at(a.k));
    for (std::int64_t block = 0; block < a.k / kPanelBlock; ++block) {
      prepare_block<kPlanes>(x + block * kPanelBlock, q + block * 2 * kPanelBlock, scales + block,
                             sums + 2 * block);
    }
  }
}

}  // namespace
}  // namespace tw::kernels
