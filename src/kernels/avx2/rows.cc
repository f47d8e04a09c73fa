// Kernels that treat each row alone: norm, rotation, activation function.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"

namespace tw::kernels {
namespace {

double sum_lanes(__m256d v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

void rms_norm(const RmsNormArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.stride;
    float* out = a.out + t * a.stride;
    __m256d squares = _mm256_setzero_pd();
    std::int64_t i = 0;
    for (; i + 4 <= a.width; i += 4) {
      const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x + i));
      squares = _mm256_fmadd_pd(v, v, squares);
    }
    double total = sum_lanes(squares);
    for (; i < a.width; ++i) total += static_cast<double>(x[i]) * x[i];
    const double root =
        _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(total / static_cast<double>(a.width) + a.epsilon)));
    const auto scale = static_cast<float>(1.0 / root);
    const __m256 scales = _mm256_set1_ps(scale);
    for (i = 0; i + 8 <= a.width; i += 8) {
      _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), scales),
                                              _mm256_loadu_ps(a.weight + i)));
    }
    for (; i < a.width; ++i) out[i] = x[i] * scale * a.weight[i];
  }
}

/// Pairs (i, i + half): eight pairs at a time.
void rotate_halves(float* x, const float* cos, const float* sin, std::int64_t half) {
  std::int64_t i = 0;
  for (; i + 8 <= half; i += 8) {
    const __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
    const __m256 even = _mm256_loadu_ps(x + i), odd = _mm256_loadu_ps(x + half + i);
    _mm256_storeu_ps(x + i, _mm256_fmsub_ps(even, c, _mm256_mul_ps(odd, s)));
    _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(even, s, _mm256_mul_ps(odd, c)));
  }
  for (; i < half; ++i) {
    const float even = x[i], odd = x[half + i];
    x[i] = even * cos[i] - odd * sin[i];
    x[half + i] = even * sin[i] + odd * cos[i];
  }
}

/// Pairs (2i, 2i + 1): four pairs at a time.
void rotate_interleaved(float* x, const float* cos, const float* sin, std::int64_t half) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  std::int64_t i = 0;
  for (; i + 4 <= half; i += 4) {
    const __m256 c = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(cos + i)), twice);
    const __m256 s = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(sin + i)), twice);
    const __m256 v = _mm256_loadu_ps(x + 2 * i);
    const __m256 swapped = _mm256_permute_ps(v, 0xB1);
    _mm256_storeu_ps(x + 2 * i, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
  }
  for (; i < half; ++i) {
    const float even = x[2 * i], odd = x[2 * i + 1];
    x[2 * i] = even * cos[i] - odd * sin[i];
    x[2 * i + 1] = even * sin[i] + odd * cos[i];
  }
}

void rope(const RopeArgs& a) {
  const std::int64_t half = a.head_dim / 2;
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      float* x = a.x + t * a.stride + h * a.head_dim;
      if (a.interleaved)
        rotate_interleaved(x, a.cos + t * half, a.sin + t * half, half);
      else
        rotate_halves(x, a.cos + t * half, a.sin + t * half, half);
    }
  }
}

__m256 silu(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0F);
  return _mm256_div_ps(x, _mm256_add_ps(one, exp_lanes(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

void silu_mul(const SiluMulArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t row = t * a.stride;
    std::int64_t i = a.column_begin;
    for (; i + 8 <= a.column_end; i += 8) {
      _mm256_storeu_ps(a.out + row + i, _mm256_mul_ps(silu(_mm256_loadu_ps(a.gate + row + i)),
                                                      _mm256_loadu_ps(a.up + row + i)));
    }
    for (; i < a.column_end; ++i) {
      // The same arithmetic as above on one lane, so that a column's bits do not depend on where the slice
      // ends.
      const __m256 y = _mm256_mul_ps(silu(_mm256_set1_ps(a.gate[row + i])), _mm256_set1_ps(a.up[row + i]));
      a.out[row + i] = _mm256_cvtss_f32(y);
    }
  }
}

}  // namespace

void avx2_row_slots(KernelSlots& slots) {
  slots.rms_norm = rms_norm;
  slots.rope = rope;
  slots.silu_mul = silu_mul;
}

}  // namespace tw::kernels
