// Kernels that treat each row alone: norm, rotation, cache, activation function.
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

/// Of two numbers one of which is NaN, min and max give the second: NaN stays NaN.
std::uint16_t to_half(float x) {
  const __m128 clamped = _mm_min_ss(_mm_set_ss(65504.0F), _mm_max_ss(_mm_set_ss(-65504.0F), _mm_set_ss(x)));
  return static_cast<std::uint16_t>(_mm_extract_epi16(_mm_cvtps_ph(clamped, _MM_FROUND_TO_NEAREST_INT), 0));
}

std::uint32_t bits_of(float x) {
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_set_ss(x))));
}

/// Rounds to nearest even; NaN stays NaN.
std::uint16_t to_bfloat(float x) {
  const std::uint32_t bits = bits_of(x);
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return static_cast<std::uint16_t>(nan ? bits >> 16 | 0x40U : (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

/// The largest magnitude of x, at most that of the largest finite number, or NaN if there is one.
float largest_magnitude(const float* x, std::int64_t count) {
  std::uint32_t largest = 0;  // magnitudes are ordered as their bits are, with NaN past infinity
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t magnitude = bits_of(x[i]) & 0x7FFFFFFFU;
    largest = magnitude > largest ? magnitude : largest;
  }
  if (largest == 0x7F800000U) largest = 0x7F7FFFFFU;
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(largest))));
}

/// Numbers that are `step` apart in bytes, and their scale.
void store_bytes(std::int8_t* out, float* scale, std::int64_t step, const float* x, std::int64_t count) {
  const float largest = largest_magnitude(x, count);
  *scale = largest < 1e-30F ? 0 : largest / 127.0F;
  const __m256 inverse = _mm256_set1_ps(largest >= 1e-30F ? 127.0F / largest : 0);
  const __m256 limit = _mm256_set1_ps(largest >= 1e-30F ? 127.0F : 0);  // a NaN leaves zeros
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (std::int64_t i = 0; i < count; i += 8) {
    const int left = count - i < 8 ? static_cast<int>(count - i) : 8;
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lanes);
    __m256 steps = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), inverse);
    steps = _mm256_min_ps(_mm256_max_ps(steps, _mm256_sub_ps(_mm256_setzero_ps(), limit)), limit);
    alignas(32) std::int32_t rounded[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rounded), _mm256_cvtps_epi32(steps));
    for (int lane = 0; lane < left; ++lane) out[(i + lane) * step] = static_cast<std::int8_t>(rounded[lane]);
  }
}

/// A position's numbers, which are `step` apart from element `first` of a head's block on; its place in the
/// block is `place`.
void store(void* base, const KvLayer& kv, std::int64_t head_block, std::int64_t place, std::int64_t first,
           std::int64_t step, const float* x) {
  const std::int64_t d = kv.head_dim, begin = head_block * kv_head_elements(kv.type, d);
  if (kv.type == DType::kI8) {
    auto* block = static_cast<std::int8_t*>(base) + begin;
    return store_bytes(block + first, reinterpret_cast<float*>(block + kKvBlock * d) + place, step, x, d);
  }
  if (kv.type == DType::kF32) {
    auto* out = static_cast<float*>(base) + begin + first;
    for (std::int64_t i = 0; i < d; ++i) out[i * step] = x[i];
    return;
  }
  auto* out = static_cast<std::uint16_t*>(base) + begin + first;
  if (kv.type == DType::kBF16) {
    for (std::int64_t i = 0; i < d; ++i) out[i * step] = to_bfloat(x[i]);
  } else {
    for (std::int64_t i = 0; i < d; ++i) out[i * step] = to_half(x[i]);
  }
}

void store_kv(const StoreKvArgs& a) {
  const std::int64_t d = a.kv.head_dim;
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t place = a.positions[t] % kKvBlock, block = a.blocks[t][a.positions[t] / kKvBlock];
    for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
      const std::int64_t head_block = block * a.kv.kv_heads + h, at = t * a.stride + h * d;
      store(a.kv.keys, a.kv, head_block, place, place, kKvBlock, a.keys + at);
      store(a.kv.values, a.kv, head_block, place, place * d, 1, a.values + at);
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
  slots.store_kv = store_kv;
  slots.silu_mul = silu_mul;
}

}  // namespace tw::kernels
