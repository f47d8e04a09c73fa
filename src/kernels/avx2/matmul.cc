// Products with quantized weights in panels of 8 rows (panels.h): lanes are output rows, activations are
// 15-bit integers in two planes of int8.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/pack.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

constexpr int kRows = 8;
// Activation rows that share one unpacking of the weights. 8 unpacked vectors + 4 sums + temporaries fill 16
// registers.
constexpr int kTile = 4;

/// A prepared row of activations (panels.h).
struct Row {
  const std::int8_t* q;  ///< high and low planes of each block
  const float* scales;   ///< [K/32]
  const float* sums;     ///< [K/16], scaled
};

Row row_at(const MatmulArgs& a, std::int64_t t) {
  const auto* base = static_cast<const std::int8_t*>(a.x) + t * a.x_stride;
  return {base, reinterpret_cast<const float*>(base + activation_scales_at(a.k)),
          reinterpret_cast<const float*>(base + activation_sums_at(a.k))};
}

__m256 load_halves(const std::uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

__m256 load_signed_bytes(const std::uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

__m256 load_bytes(const std::uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

/// The scales of a block, as factors of (sum of q * x) and of (sum of x): value = scale * q + minimum.
struct Scales {
  __m256 scale[2], minimum[2];  ///< [1] only for types with halves
};

template <DType kType>
Scales load_scales(const std::uint8_t* p, __m256 d, __m256 dmin) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr int kParts = f.halves ? 2 : 1;
  Scales s{};
  for (int h = 0; h < kParts; ++h) {
    s.scale[h] = f.super ? _mm256_mul_ps(d, load_signed_bytes(p + h * kRows)) : load_halves(p);
    if constexpr (f.minimums && f.super) {
      s.minimum[h] =
          _mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(dmin, load_bytes(p + (kParts + h) * kRows)));
    } else if constexpr (f.minimums) {
      s.minimum[h] = load_halves(p + 2 * kRows);
    } else if constexpr (f.offset != 0) {
      s.minimum[h] = _mm256_mul_ps(s.scale[h], _mm256_set1_ps(-static_cast<float>(f.offset)));
    }
  }
  return s;
}

/// The 32 weights of 8 rows: w[j] holds k = 4j .. 4j+3 of each row.
template <DType kType>
void load_weights(const std::uint8_t* p, __m256i* w) {
  if constexpr (panel_format(kType).bytes) {
    for (int j = 0; j < 8; ++j) w[j] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p) + j);
  } else {
    const __m256i low = _mm256_set1_epi8(15);
    for (int j = 0; j < 4; ++j) {
      const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p) + j);
      w[j] = _mm256_and_si256(both, low);
      w[j + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
  }
}

__m256i four(const std::int8_t* q) {
  return _mm256_set1_epi32(*reinterpret_cast<const std::int32_t*>(q));
}

/// Sum of weight * q over 16 values of one plane from group `begin` (of 4 values) on, for 8 rows.
/// 16-bit sums cannot overflow: nibbles give at most 4 * 2 * 15 * 127 = 15,240; bytes of up to 6 bits are
/// widened after two steps, 2 * 2 * 63 * 127 = 32,004; signed bytes after each, 2 * 128 * 127 = 32,512.
template <DType kType>
__m256i dot16(const __m256i* w, const std::int8_t* q, int begin) {
  constexpr PanelFormat f = panel_format(kType);
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (f.is_signed) {
    __m256i sum = _mm256_setzero_si256();
    for (int j = begin; j < begin + 4; ++j) {
      const __m256i product =
          _mm256_maddubs_epi16(_mm256_abs_epi8(w[j]), _mm256_sign_epi8(four(q + 4 * j), w[j]));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(product, ones));
    }
    return sum;
  } else if constexpr (f.bytes) {
    const __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(w[begin], four(q + 4 * begin)),
                                       _mm256_maddubs_epi16(w[begin + 1], four(q + 4 * begin + 4)));
    const __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(w[begin + 2], four(q + 4 * begin + 8)),
                                       _mm256_maddubs_epi16(w[begin + 3], four(q + 4 * begin + 12)));
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
  } else {
    __m256i sum = _mm256_maddubs_epi16(w[begin], four(q + 4 * begin));
    for (int j = begin + 1; j < begin + 4; ++j)
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[j], four(q + 4 * j)));
    return _mm256_madd_epi16(sum, ones);
  }
}

/// Sum over all 32 values of one plane. Nibbles: 8 * 2 * 15 * 127 = 30,480 still fits 16 bits.
template <DType kType>
__m256i dot32(const __m256i* w, const std::int8_t* q) {
  if constexpr (!panel_format(kType).bytes) {
    __m256i sum = _mm256_maddubs_epi16(w[0], four(q));
    for (int j = 1; j < 8; ++j) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[j], four(q + 4 * j)));
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
  } else {
    return _mm256_add_epi32(dot16<kType>(w, q, 0), dot16<kType>(w, q, 4));
  }
}

/// high * kPlaneBase + low, as fp32. Below 2^24 for nibbles, so exact.
__m256 join(__m256i high, __m256i low) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_mullo_epi32(high, _mm256_set1_epi32(kPlaneBase)), low));
}

/// One block of one activation row; the order of these additions is what makes a row's bits.
template <DType kType>
__m256 add_block(__m256 sum, const __m256i* w, const Scales& s, const Row& x, std::int64_t block) {
  constexpr PanelFormat f = panel_format(kType);
  const std::int8_t *high = x.q + block * 2 * kPanelBlock, *low = high + kPanelBlock;
  const __m256 dx = _mm256_broadcast_ss(x.scales + block);
  if constexpr (f.halves) {
    sum = _mm256_fmadd_ps(join(dot16<kType>(w, high, 0), dot16<kType>(w, low, 0)),
                          _mm256_mul_ps(s.scale[0], dx), sum);
    sum = _mm256_fmadd_ps(join(dot16<kType>(w, high, 4), dot16<kType>(w, low, 4)),
                          _mm256_mul_ps(s.scale[1], dx), sum);
    sum = _mm256_fmadd_ps(s.minimum[0], _mm256_broadcast_ss(x.sums + 2 * block), sum);
    sum = _mm256_fmadd_ps(s.minimum[1], _mm256_broadcast_ss(x.sums + 2 * block + 1), sum);
  } else {
    sum = _mm256_fmadd_ps(join(dot32<kType>(w, high), dot32<kType>(w, low)), _mm256_mul_ps(s.scale[0], dx),
                          sum);
    if constexpr (f.minimums || f.offset != 0) {
      const __m256 total = _mm256_set1_ps(x.sums[2 * block] + x.sums[2 * block + 1]);
      sum = _mm256_fmadd_ps(s.minimum[0], total, sum);
    }
  }
  return sum;
}

/// kCount activation rows times one panel.
template <DType kType, int kCount>
void tile(const std::uint8_t* panel, const Row* x, std::int64_t blocks, __m256* sums) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr std::int64_t kScaleBytes = panel_scale_bytes(f, kRows),
                         kWeightBytes = panel_weight_bytes(f, kRows);
  __m256 d = _mm256_setzero_ps(), dmin = _mm256_setzero_ps(), sum[kCount];
  for (int t = 0; t < kCount; ++t) sum[t] = _mm256_setzero_ps();
  for (std::int64_t block = 0; block < blocks; ++block) {
    if constexpr (f.super) {
      if (block % 8 == 0) {
        d = load_halves(panel);
        if constexpr (f.minimums) dmin = load_halves(panel + 2 * kRows);
        panel += panel_header_bytes(f, kRows);
      }
    }
    _mm_prefetch(reinterpret_cast<const char*>(panel + 1024), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(panel + 1088), _MM_HINT_T0);
    const Scales scales = load_scales<kType>(panel, d, dmin);
    __m256i w[8];
    load_weights<kType>(panel + kScaleBytes, w);
    for (int t = 0; t < kCount; ++t) sum[t] = add_block<kType>(sum[t], w, scales, x[t], block);
    panel += kScaleBytes + kWeightBytes;
  }
  for (int t = 0; t < kCount; ++t) sums[t] = sum[t];
}

/// Bias and residual, then out: up to 8 columns from n on.
void store(const MatmulArgs& a, std::int64_t t, std::int64_t n, __m256 sum) {
  alignas(32) float values[kRows];
  _mm256_store_ps(values, sum);
  const std::int64_t count = a.n_end - n < kRows ? a.n_end - n : kRows;
  float* out = a.out + t * a.out_stride + n;
  for (std::int64_t i = 0; i < count; ++i) {
    float y = values[i];
    if (a.bias != nullptr) y += a.bias[n + i];
    if (a.residual != nullptr) y += a.residual[t * a.out_stride + n + i];
    out[i] = y;
  }
}

template <DType kType>
void run(const MatmulArgs& a) {
  const std::int64_t bytes = panel_bytes(panel_format(kType), kRows, a.k), blocks = a.k / kPanelBlock;
  for (std::int64_t n = a.n_begin; n < a.n_end; n += kRows) {
    const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / kRows * bytes;
    std::int64_t t = 0;
    __m256 sums[kTile];
    for (; t + kTile <= a.rows; t += kTile) {
      const Row x[kTile] = {row_at(a, t), row_at(a, t + 1), row_at(a, t + 2), row_at(a, t + 3)};
      tile<kType, kTile>(panel, x, blocks, sums);
      for (int i = 0; i < kTile; ++i) store(a, t + i, n, sums[i]);
    }
    for (; t < a.rows; ++t) {
      const Row x = row_at(a, t);
      tile<kType, 1>(panel, &x, blocks, sums);
      store(a, t, n, sums[0]);
    }
  }
}

float largest_magnitude(const float* x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 m = _mm256_andnot_ps(sign, _mm256_loadu_ps(x));
  for (int i = 8; i < kPanelBlock; i += 8)
    m = _mm256_max_ps(m, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)));
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

__m128i narrow(__m256i a, __m256i b) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/// 16 values to integers X, in two planes; returns the sum of X.
int quantize16(const float* x, __m256 inverse, std::int8_t* high, std::int8_t* low) {
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
void prepare(const PrepareArgs& a) {
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

template <DType kType>
constexpr MatmulKernel kKernel = {
    panel_format(kType).bytes ? "avx2 panels of 8, bytes" : "avx2 panels of 8, nibbles",
    kRows,
    packed_bytes_8,
    pack_8,
    prepared_row_bytes,
    prepare,
    nullptr,
    run<kType>};

}  // namespace

void avx2_matmul_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulKernel& kernel) {
    slots.matmul[static_cast<int>(type)] = &kernel;
  };
  set(DType::kQ4_0, kKernel<DType::kQ4_0>);
  set(DType::kQ4_1, kKernel<DType::kQ4_1>);
  set(DType::kQ5_0, kKernel<DType::kQ5_0>);
  set(DType::kQ5_1, kKernel<DType::kQ5_1>);
  set(DType::kQ8_0, kKernel<DType::kQ8_0>);
  set(DType::kQ2_K, kKernel<DType::kQ2_K>);
  set(DType::kQ3_K, kKernel<DType::kQ3_K>);
  set(DType::kQ4_K, kKernel<DType::kQ4_K>);
  set(DType::kQ5_K, kKernel<DType::kQ5_K>);
  set(DType::kQ6_K, kKernel<DType::kQ6_K>);
}

}  // namespace tw::kernels
