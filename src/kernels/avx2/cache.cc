// Keys and values on their way into the cache.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"

namespace tw::kernels {
namespace {

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

/// 8 numbers of kF16 or kBF16: to_half's or to_bfloat's.
__m128i to_words(DType type, __m256 x) {
  if (type == DType::kBF16) return to_bfloats(x);
  const __m256 most = _mm256_set1_ps(65504.0F), least = _mm256_set1_ps(-65504.0F);
  return _mm256_cvtps_ph(_mm256_min_ps(most, _mm256_max_ps(least, x)), _MM_FROUND_TO_NEAREST_INT);
}

/// 8 rows of 8 words become columns.
void transpose(__m128i* v) {
  __m128i a[8], b[8];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm_unpacklo_epi16(v[i], v[i + 4]);
    a[2 * i + 1] = _mm_unpackhi_epi16(v[i], v[i + 4]);
  }
  for (int i = 0; i < 4; ++i) {
    b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
    b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
  }
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
    v[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
  }
}

/// Rows whose keys go into the cache together.
constexpr std::int64_t kTogether = 8;

/// Whether kTogether rows from t on fill half of a block, in order.
bool fill_half_a_block(const StoreKvArgs& a, std::int64_t t) {
  if (t + kTogether > a.row_end || a.positions[t] % kTogether != 0) return false;
  const std::int64_t index = a.positions[t] / kKvBlock;
  for (std::int64_t i = 1; i < kTogether; ++i) {
    if (a.positions[t + i] != a.positions[t] + i || a.blocks[t + i][index] != a.blocks[t][index])
      return false;
  }
  return true;
}

/// Keys of those rows of a head: `out` is the first one's place in its block.
void store_keys(std::uint16_t* out, DType type, std::int64_t d, const float* x, std::int64_t stride) {
  for (std::int64_t i = 0; i < d; i += 8) {
    __m128i v[kTogether];
    for (std::int64_t r = 0; r < kTogether; ++r) v[r] = to_words(type, _mm256_loadu_ps(x + r * stride + i));
    transpose(v);
    for (std::int64_t j = 0; j < 8; ++j)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + (i + j) * kKvBlock), v[j]);
  }
}

/// Rows [t, t + rows) in words; there is one, or kTogether of them fill half a block.
void store_words(const StoreKvArgs& a, std::int64_t t, std::int64_t rows) {
  const std::int64_t d = a.kv.head_dim, place = a.positions[t] % kKvBlock;
  const std::int64_t block = a.blocks[t][a.positions[t] / kKvBlock];
  for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
    const std::int64_t head_block = block * a.kv.kv_heads + h, at = t * a.stride + h * d;
    const std::int64_t begin = head_block * kv_head_elements(a.kv.type, d);
    if (rows == kTogether)
      store_keys(static_cast<std::uint16_t*>(a.kv.keys) + begin + place, a.kv.type, d, a.keys + at, a.stride);
    else
      store(a.kv.keys, a.kv, head_block, place, place, kKvBlock, a.keys + at);
    auto* values = static_cast<std::uint16_t*>(a.kv.values) + begin + place * d;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < d; i += 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(values + r * d + i),
                         to_words(a.kv.type, _mm256_loadu_ps(a.values + at + r * a.stride + i)));
      }
    }
  }
}

void store_kv(const StoreKvArgs& a) {
  const std::int64_t d = a.kv.head_dim;
  const bool words = (a.kv.type == DType::kF16 || a.kv.type == DType::kBF16) && d % 8 == 0;
  for (std::int64_t t = a.row_begin; t < a.row_end;) {
    const std::int64_t rows = words && fill_half_a_block(a, t) ? kTogether : 1;
    if (words) {
      store_words(a, t, rows);
      t += rows;
      continue;
    }
    const std::int64_t place = a.positions[t] % kKvBlock, block = a.blocks[t][a.positions[t] / kKvBlock];
    for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
      const std::int64_t head_block = block * a.kv.kv_heads + h, at = t * a.stride + h * d;
      store(a.kv.keys, a.kv, head_block, place, place, kKvBlock, a.keys + at);
      store(a.kv.values, a.kv, head_block, place, place * d, 1, a.values + at);
    }
    ++t;
  }
}

}  // namespace

void avx2_cache_slots(KernelSlots& slots) {
  slots.store_kv = store_kv;
}

}  // namespace tw::kernels
