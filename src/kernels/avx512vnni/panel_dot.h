// Products of a few activation rows with quantized weights in panels of 16 rows (panels.h), by dot products
// of bytes; needs AVX512_VNNI. Everything is internal to the including file, and inlined into its loops: the
// unpacked weights of a block and the sums stay in registers.
//
// Weights without minimums are multiplied as unsigned bytes, kCenter higher, and the sum begins with the
// activations' bias. Those of fewer bits are kExcess times themselves then, which is where the middle of
// their range is kCenter; a power of two changes no bit of the sums, which are divided by it at the end.
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/avx512/intrinsics.h"
#include "kernels/avx512/vector.h"
#include "kernels/panel_bits.h"
#include "kernels/panels.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

constexpr int kPanelRows = 16;
/// Bytes in advance that weights are asked for, into the second cache, and from there into the nearest. Asked
/// for into the nearest at once, as many wait at a time as that has buffers for, and where a panel ends
/// memory stands idle.
constexpr std::int64_t kAhead = 3072, kNear = 1024;

/// A prepared row of activations (panels.h).
struct DotRow {
  const std::int8_t* q;
  const float* scales;         ///< [K/32]
  const float* sums;           ///< [K/16] for types with halves, else [K/32]
  const std::int32_t* biases;  ///< likewise
};

template <DType kType>
DotRow dot_row(const MatmulArgs& a, std::int64_t t) {
  constexpr bool kHalves = panel_format(kType).halves;
  const auto* base = static_cast<const std::int8_t*>(a.x) + t * activation_row_bytes(a.k);
  return {base, reinterpret_cast<const float*>(base + activation_scales_at(a.k)),
          reinterpret_cast<const float*>(base + activation_sums_at(a.k, kHalves)),
          reinterpret_cast<const std::int32_t*>(base + activation_biases_at(a.k, kHalves))};
}

/// Scales of 16 or of 32 values for each row of a panel.
template <DType kType>
constexpr int kParts = panel_format(kType).halves ? 2 : 1;

/// Whether the stored numbers have their zero in the middle.
template <DType kType>
constexpr bool kCentered = !panel_format(kType).minimums;

/// What the sums of a type are above the product's.
template <DType kType>
constexpr float kExcess = 1 << up_to_byte(panel_format(kType));

struct PanelScales {
  __m512 scale[2], minimum[2];  ///< [1] only for types with halves
};

template <DType kType>
TW_INLINE PanelScales panel_scales(const std::uint8_t* p, __m512 d, __m512 dmin) {
  constexpr PanelFormat f = panel_format(kType);
  PanelScales s{};
  for (int h = 0; h < kParts<kType>; ++h) {
    s.scale[h] = f.super ? _mm512_mul_ps(d, floats_of_signed_bytes(p + h * kPanelRows)) : floats_of_halves(p);
    if constexpr (f.minimums && f.super)
      s.minimum[h] = _mm512_mul_ps(dmin, floats_of_bytes(p + (kParts<kType> + h) * kPanelRows));
    else if constexpr (f.minimums)
      s.minimum[h] = floats_of_halves(p + 2 * kPanelRows);
  }
  return s;
}

/// As unsigned bytes: w[j] is k = 4j .. 4j+3 of each row.
template <DType kType>
TW_INLINE void unpack(const std::uint8_t* p, __m512i* w) {
  constexpr PanelFormat f = panel_format(kType);
  repeat<8>([&](auto j) {
    if constexpr (f.bits == 8)
      w[j.value] = _mm512_xor_si512(_mm512_loadu_si512(p + 64 * j.value), _mm512_set1_epi8(-128));
    else
      w[j.value] = numbers<Avx512Vector, f.bits, up_to_byte(f), j.value>(p);
  });
}

TW_INLINE __m512i four(const std::int8_t* q) {
  std::int32_t bits;
  __builtin_memcpy(&bits, q, sizeof bits);
  return _mm512_set1_epi32(bits);
}

/// sum of weight * X over part h of a block: exact. X = 2^kBits * high + low.
template <DType kType, int kBits, int h>
TW_INLINE __m512i integer_sum(const __m512i* w, const DotRow& x, std::int64_t block) {
  constexpr int kCount = 8 / kParts<kType>;
  const std::int8_t* q = x.q + block * 2 * kPanelBlock + h * 16;
  __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();
  if constexpr (kCentered<kType>) low = _mm512_set1_epi32(x.biases[block * kParts<kType> + h]);
  repeat<kCount>([&](auto j) {
    high = _mm512_dpbusd_epi32(high, w[h * 4 + j.value], four(q + 4 * j.value));
    low = _mm512_dpbusd_epi32(low, w[h * 4 + j.value], four(q + kPanelBlock + 4 * j.value));
  });
  return _mm512_add_epi32(_mm512_slli_epi32(high, kBits), low);
}

/// Adds one block to a row's sums, given its integer sums and the row's scale and scaled sums, kStride apart.
/// The order of these additions is what makes a row's bits.
template <DType kType, int kStride>
TW_INLINE __m512 add_block(__m512 sum, const __m512i* products, const PanelScales& s, float scale,
                           const float* sums) {
  for (int h = 0; h < kParts<kType>; ++h)
    sum = _mm512_fmadd_ps(floats_of(products[h]), _mm512_mul_ps(s.scale[h], _mm512_set1_ps(scale)), sum);
  if constexpr (!kCentered<kType>) {
    for (int h = 0; h < kParts<kType>; ++h) {
      if constexpr (panel_format(kType).super)
        sum = _mm512_fnmadd_ps(s.minimum[h], _mm512_set1_ps(sums[h * kStride]), sum);
      else
        sum = _mm512_fmadd_ps(s.minimum[h], _mm512_set1_ps(sums[h * kStride]), sum);
    }
  }
  return sum;
}

TW_INLINE void prefetch(const std::uint8_t* p, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kAhead + i), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(p + kNear + i), _MM_HINT_T0);
  }
}

/// One block of a panel against kCount rows.
template <DType kType, int kBits, int kCount>
TW_INLINE void dot_block(const std::uint8_t* p, __m512 d, __m512 dmin, const DotRow* x, std::int64_t block,
                         __m512* sum) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr std::int64_t kScaleBytes = panel_scale_bytes(f, kPanelRows);
  prefetch(p, kScaleBytes + panel_weight_bytes(f, kPanelRows));
  const PanelScales s = panel_scales<kType>(p, d, dmin);
  __m512i w[8];
  unpack<kType>(p + kScaleBytes, w);
  repeat<kCount>([&](auto t) {
    const DotRow& row = x[t.value];
    __m512i products[2];
    products[0] = integer_sum<kType, kBits, 0>(w, row, block);
    if constexpr (f.halves) products[1] = integer_sum<kType, kBits, 1>(w, row, block);
    sum[t.value] =
        add_block<kType, 1>(sum[t.value], products, s, row.scales[block], row.sums + block * kParts<kType>);
  });
}

/// kCount rows times one panel of `blocks` blocks.
template <DType kType, int kBits, int kCount>
TW_INLINE void dot_panel(const std::uint8_t* p, const DotRow* x, std::int64_t blocks, __m512* sum) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr std::int64_t kBlock = panel_scale_bytes(f, kPanelRows) + panel_weight_bytes(f, kPanelRows);
  __m512 d = _mm512_setzero_ps(), dmin = d;
  for (std::int64_t block = 0; block < blocks;) {
    const std::int64_t end = f.super ? block + 8 : blocks;
    if constexpr (f.super) {
      d = floats_of_halves(p);
      if constexpr (f.minimums) dmin = floats_of_halves(p + 2 * kPanelRows);
      p += panel_header_bytes(f, kPanelRows);
    }
    for (; block < end; ++block, p += kBlock) dot_block<kType, kBits, kCount>(p, d, dmin, x, block, sum);
  }
}

/// Bias and residual, then out: the columns that exist of 16 from n on.
inline void store_panel(const MatmulArgs& a, std::int64_t t, std::int64_t n, __m512 y) {
  const std::int64_t at = t * a.out_stride + n;
  if (n + kPanelRows <= a.n_end) {
    if (a.bias != nullptr) y = _mm512_add_ps(y, _mm512_loadu_ps(a.bias + n));
    if (a.residual != nullptr) y = _mm512_add_ps(y, _mm512_loadu_ps(a.residual + at));
    _mm512_storeu_ps(a.out + at, y);
    return;
  }
  alignas(64) float values[kPanelRows];
  _mm512_store_ps(values, y);
  for (std::int64_t i = 0; i < a.n_end - n; ++i) {
    float value = values[i];
    if (a.bias != nullptr) value += a.bias[n + i];
    if (a.residual != nullptr) value += a.residual[at + i];
    a.out[at + i] = value;
  }
}

/// Rows from t on against one panel, kCount at a time; returns the first row that is left over.
template <DType kType, int kBits, int kCount>
TW_INLINE std::int64_t dot_rows(const MatmulArgs& a, const std::uint8_t* panel, std::int64_t n,
                                std::int64_t t) {
  for (; t + kCount <= a.rows; t += kCount) {
    DotRow x[kCount];
    __m512 sum[kCount];
    repeat<kCount>([&](auto i) {
      x[i.value] = dot_row<kType>(a, t + i.value);
      sum[i.value] = _mm512_setzero_ps();
    });
    dot_panel<kType, kBits, kCount>(panel, x, a.k / kPanelBlock, sum);
    repeat<kCount>([&](auto i) {
      store_panel(a, t + i.value, n, _mm512_mul_ps(sum[i.value], _mm512_set1_ps(1 / kExcess<kType>)));
    });
  }
  return t;
}

/// Rows from `row` on, by dot products.
template <DType kType, int kBits = 8>
void run_dots(const MatmulArgs& a, std::int64_t row) {
  const std::int64_t bytes = panel_bytes(panel_format(kType), kPanelRows, a.k);
  for (std::int64_t n = a.n_begin; n < a.n_end; n += kPanelRows) {
    const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / kPanelRows * bytes;
    std::int64_t t = dot_rows<kType, kBits, 8>(a, panel, n, row);
    t = dot_rows<kType, kBits, 4>(a, panel, n, t);
    t = dot_rows<kType, kBits, 2>(a, panel, n, t);
    dot_rows<kType, kBits, 1>(a, panel, n, t);
  }
}

}  // namespace
}  // namespace tw::kernels
