// fp32 activations into 16-bit integers (panels.h), with 256-bit vectors; needs AVX2 and FMA. Everything is
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

/// How a row's integers are stored (panels.h).
enum class Planes { kNone, kWide, kNarrow };

/// 16 integers X as planes, the low one 32 bytes after the high one: low is X's last byte (or, narrow, its
/// last four bits) as a signed number.
template <Planes kPlanes>
void store_planes(const __m256i* x, std::int8_t* high) {
  constexpr int kBits = kPlanes == Planes::kNarrow ? 4 : 8;
  const __m256i words = narrow(x[0], x[1]);
  const __m256i h = _mm256_srai_epi16(_mm256_add_epi16(words, _mm256_set1_epi16(1 << (kBits - 1))), kBits);
  const __m256i l = _mm256_srai_epi16(_mm256_slli_epi16(words, 16 - kBits), 16 - kBits);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), narrow(h));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high + kPanelBlock), narrow(l));
}

/// 16 integers X as words, each four in the order 0, 2, 1, 3.
inline void store_words(const __m256i* x, std::int8_t* out) {
  const __m256i words = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(narrow(x[0], x[1]), 0xD8), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), words);
}

/// Where a row's numbers go.
struct PreparedRow {
  std::int8_t* q;
  float *scales, *sums, *half_sums;
  std::int32_t *biases, *half_biases;
};

inline PreparedRow prepared_row(void* prepared, std::int64_t t, std::int64_t k) {
  auto* q = static_cast<std::int8_t*>(prepared) + t * activation_row_bytes(k);
  const auto floats = [&](std::int64_t at) { return reinterpret_cast<float*>(q + at); };
  const auto ints = [&](std::int64_t at) { return reinterpret_cast<std::int32_t*>(q + at); };
  return {q,
          floats(activation_scales_at(k)),
          floats(activation_sums_at(k, false)),
          floats(activation_sums_at(k, true)),
          ints(activation_biases_at(k, false)),
          ints(activation_biases_at(k, true))};
}

/// Each 32 values: scale = largest magnitude / largest integer, rounded to nearest.
template <Planes kPlanes>
void prepare_block(const float* x, const PreparedRow& out, std::int64_t block) {
  constexpr float kLargest = kPlanes == Planes::kNarrow ? kLargestNarrowActivation : kLargestActivation;
  const float largest = largest_magnitude(x);
  const __m256 inverse = _mm256_set1_ps(largest > 0 ? kLargest / largest : 0.0F);
  const float scale = largest / kLargest;
  std::int8_t* q = out.q + block * 2 * kPanelBlock;
  int sums[2];
  for (int h = 0; h < 2; ++h) {
    __m256i v[2];
    for (int i = 0; i < 2; ++i) {
      v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h + 8 * i), inverse));
    }
    if constexpr (kPlanes == Planes::kNone)
      store_words(v, q + 32 * h);
    else
      store_planes<kPlanes>(v, q + 16 * h);
    sums[h] = sum_lanes(_mm256_add_epi32(v[0], v[1]));
    out.half_sums[2 * block + h] = scale * static_cast<float>(sums[h]);
    out.half_biases[2 * block + h] = -kCenter * sums[h];
  }
  out.scales[block] = scale;
  out.sums[block] = scale * static_cast<float>(sums[0] + sums[1]);
  out.biases[block] = -kCenter * (sums[0] + sums[1]);
}

template <Planes kPlanes>
void prepare(const PrepareArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const PreparedRow row = prepared_row(a.prepared, t, a.k);
    for (std::int64_t block = 0; block < a.k / kPanelBlock; ++block)
      prepare_block<kPlanes>(a.x + t * a.x_stride + block * kPanelBlock, row, block);
  }
}

}  // namespace
}  // namespace tw::kernels
