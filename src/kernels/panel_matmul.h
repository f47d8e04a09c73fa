// Products with quantized weights in panels (panels.h), once for all vector widths: lanes are output rows,
// activations are 16-bit integers. Everything is internal to the including file, so
// that no two sets share a symbol. The including file brings a vector policy V:
//   kRows             rows of a panel, lanes of its vectors
//   kTile             activation rows that share one unpacking of the weights, a multiple of 2
//   kDot              true: dot(sum, w, q) adds 4 products of unsigned and signed bytes to each 32-bit lane;
//   false:
//                     maddubs does it for nibbles by way of 16 bits, and madd for bytes widened to words
//   Floats, Ints      the vector types, and the few operations on them used below
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/pack.h"
#include "kernels/panel_prepare.h"
#include "kernels/panel_store.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

/// A prepared row of activations (panels.h).
struct Row {
  const std::int8_t* q;  ///< planes or words of each block
  const float* scales;   ///< [K/32]
  const float* sums;     ///< [K/16] for types with halves, else [K/32]
};

template <DType kType>
Row row_at(const MatmulArgs& a, std::int64_t t) {
  const auto* base = static_cast<const std::int8_t*>(a.x) + t * activation_row_bytes(a.k);
  return {base, reinterpret_cast<const float*>(base + activation_scales_at(a.k)),
          reinterpret_cast<const float*>(base + activation_sums_at(a.k, panel_format(kType).halves))};
}

/// What the stored numbers are above the weights' own. dot() takes unsigned bytes: int8 is moved up by 128
/// for it.
template <typename V>
constexpr int offset_of(PanelFormat f) {
  return f.is_signed && V::kDot ? 128 : f.offset;
}

/// Whether activations are words: bytes times bytes overflow 16 bits, and two steps to 32 cost more than
/// words do. Nibbles are faster in planes, since they need not be widened.
template <typename V>
constexpr bool uses_words(PanelFormat f) {
  return f.bytes && !V::kDot;
}

/// The scales of a block, as factors of (sum of q * x) and of (sum of x): value = scale * q + minimum.
template <typename V>
struct Scales {
  typename V::Floats scale[2], minimum[2];  ///< [1] only for types with halves
};

template <typename V, DType kType>
Scales<V> load_scales(const std::uint8_t* p, typename V::Floats d, typename V::Floats dmin) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr int kParts = f.halves ? 2 : 1;
  Scales<V> s{};
  for (int h = 0; h < kParts; ++h) {
    s.scale[h] = f.super ? V::mul(d, V::signed_bytes(p + h * V::kRows)) : V::halves(p);
    if constexpr (f.minimums && f.super) {
      s.minimum[h] = V::sub(V::zeros(), V::mul(dmin, V::bytes(p + (kParts + h) * V::kRows)));
    } else if constexpr (f.minimums) {
      s.minimum[h] = V::halves(p + 2 * V::kRows);
    } else if constexpr (offset_of<V>(f) != 0) {
      s.minimum[h] = V::mul(s.scale[h], V::all(-static_cast<float>(offset_of<V>(f))));
    }
  }
  return s;
}

/// The 32 weights of each row as bytes: w[j] holds k = 4j .. 4j+3 of each.
template <typename V, DType kType>
void load_weights(const std::uint8_t* p, typename V::Ints* w) {
  constexpr PanelFormat f = panel_format(kType);
  for (int j = 0; j < (f.bytes ? 8 : 4); ++j) {
    const typename V::Ints v = V::load(p + j * V::kRows * 4);
    if constexpr (!f.bytes) {
      w[j] = V::low_nibbles(v);
      w[j + 4] = V::high_nibbles(v);
    } else if constexpr (f.is_signed) {
      w[j] = V::flip_signs(v);
    } else {
      w[j] = v;
    }
  }
}

/// Sum of weight * q over 4 * kCount values of one plane, from group `begin` of 4 values on. Without dot()
/// they are nibbles, whose sums fit 16 bits: 8 * 2 * 15 * 128 = 30,720.
template <typename V, int kCount>
typename V::Ints dot(const typename V::Ints* w, const std::int8_t* q, int begin) {
  w += begin;
  q += 4 * begin;
  if constexpr (V::kDot) {
    typename V::Ints sum = V::zero_ints();
    for (int j = 0; j < kCount; ++j) sum = V::dot(sum, w[j], V::four(q + 4 * j));
    return sum;
  } else {
    typename V::Ints sum = V::maddubs(w[0], V::four(q));
    for (int j = 1; j < kCount; ++j) sum = V::add16(sum, V::maddubs(w[j], V::four(q + 4 * j)));
    return V::madd(sum, V::ones16());
  }
}

/// high * kPlaneBase + low over part of a block, in fp32: both are below 2^24, so that only the sum is
/// rounded.
template <typename V, int kCount>
typename V::Floats joined(const typename V::Ints* w, const std::int8_t* q, int begin) {
  const typename V::Floats high = V::to_floats(dot<V, kCount>(w, q, begin));
  const typename V::Floats low = V::to_floats(dot<V, kCount>(w, q + kPanelBlock, begin));
  return V::fma(high, V::all(static_cast<float>(kPlaneBase)), low);
}

/// Adds the products of part h of a block with one activation row, given their integer sum.
template <typename V>
typename V::Floats add_part(typename V::Floats sum, typename V::Floats products, const Scales<V>& s,
                            const Row& x, std::int64_t block, int h) {
  return V::fma(products, V::mul(s.scale[h], V::all(x.scales[block])), sum);
}

/// Adds what minimums and offsets make of one activation row's block.
template <typename V, DType kType>
typename V::Floats add_minimums(typename V::Floats sum, const Scales<V>& s, const Row& x,
                                std::int64_t block) {
  constexpr PanelFormat f = panel_format(kType);
  if constexpr (f.halves) {
    sum = V::fma(s.minimum[0], V::all(x.sums[2 * block]), sum);
    sum = V::fma(s.minimum[1], V::all(x.sums[2 * block + 1]), sum);
  } else if constexpr (f.minimums || offset_of<V>(f) != 0) {
    sum = V::fma(s.minimum[0], V::all(x.sums[block]), sum);
  }
  return sum;
}

/// One block against kCount activation rows in planes; the order of these additions is what makes a row's
/// bits.
template <typename V, DType kType, int kCount>
void add_planes(typename V::Floats* sum, const std::uint8_t* weights, const Scales<V>& s, const Row* x,
                std::int64_t block) {
  typename V::Ints w[8];
  load_weights<V, kType>(weights, w);
  for (int t = 0; t < kCount; ++t) {
    const std::int8_t* q = x[t].q + block * 2 * kPanelBlock;
    if constexpr (panel_format(kType).halves) {
      sum[t] = add_part<V>(sum[t], joined<V, 4>(w, q, 0), s, x[t], block, 0);
      sum[t] = add_part<V>(sum[t], joined<V, 4>(w, q, 4), s, x[t], block, 1);
    } else {
      sum[t] = add_part<V>(sum[t], joined<V, 8>(w, q, 0), s, x[t], block, 0);
    }
    sum[t] = add_minimums<V, kType>(sum[t], s, x[t], block);
  }
}

/// Four weights of each row as words: k = 4j and 4j+2 of each, and k = 4j+1 and 4j+3.
template <typename V>
struct Words {
  typename V::Ints even, odd;
};

template <typename V, DType kType>
Words<V> load_words(const std::uint8_t* p, int j) {
  const typename V::Ints v = V::load(p + j * V::kRows * 4);
  if constexpr (panel_format(kType).is_signed)
    return {V::even_signed(v), V::odd_signed(v)};
  else
    return {V::even_bytes(v), V::odd_bytes(v)};
}

/// The same with activations in words.
template <typename V, DType kType, int kCount>
void add_words(typename V::Floats* sum, const std::uint8_t* weights, const Scales<V>& s, const Row* x,
               std::int64_t block) {
  typename V::Ints total[kCount];
  for (int h = 0; h < 2; ++h) {
    if (h == 0 || panel_format(kType).halves) {
      for (int t = 0; t < kCount; ++t) total[t] = V::zero_ints();
    }
    for (int j = 4 * h; j < 4 * h + 4; ++j) {
      const Words<V> w = load_words<V, kType>(weights, j);
      for (int t = 0; t < kCount; ++t) {
        const std::int8_t* q = x[t].q + block * 2 * kPanelBlock + 8 * j;
        total[t] = V::add(total[t], V::madd(w.even, V::four(q)));
        total[t] = V::add(total[t], V::madd(w.odd, V::four(q + 4)));
      }
    }
    if (h == 1 || panel_format(kType).halves) {
      const int part = panel_format(kType).halves ? h : 0;
      for (int t = 0; t < kCount; ++t)
        sum[t] = add_part<V>(sum[t], V::to_floats(total[t]), s, x[t], block, part);
    }
  }
  for (int t = 0; t < kCount; ++t) sum[t] = add_minimums<V, kType>(sum[t], s, x[t], block);
}

/// kCount activation rows times one panel.
template <typename V, DType kType, int kCount>
void multiply(const std::uint8_t* panel, const Row* x, std::int64_t blocks, typename V::Floats* sums) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr std::int64_t kScaleBytes = panel_scale_bytes(f, V::kRows);
  constexpr std::int64_t kBlockBytes = kScaleBytes + panel_weight_bytes(f, V::kRows);
  typename V::Floats d = V::zeros(), dmin = V::zeros(), sum[kCount];
  for (int t = 0; t < kCount; ++t) sum[t] = V::zeros();
  for (std::int64_t block = 0; block < blocks; ++block) {
    if constexpr (f.super) {
      if (block % 8 == 0) {
        d = V::halves(panel);
        if constexpr (f.minimums) dmin = V::halves(panel + 2 * V::kRows);
        panel += panel_header_bytes(f, V::kRows);
      }
    }
    for (int line = 0; line < V::kRows * 16; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(panel + 128 * V::kRows + line), _MM_HINT_T0);
    }
    const Scales<V> scales = load_scales<V, kType>(panel, d, dmin);
    if constexpr (uses_words<V>(f))
      add_words<V, kType, kCount>(sum, panel + kScaleBytes, scales, x, block);
    else
      add_planes<V, kType, kCount>(sum, panel + kScaleBytes, scales, x, block);
    panel += kBlockBytes;
  }
  for (int t = 0; t < kCount; ++t) sums[t] = sum[t];
}

/// Rows from t on against one panel, kCount at a time; returns the first row that is left over.
template <typename V, DType kType, int kCount>
std::int64_t run_tiles(const MatmulArgs& a, const std::uint8_t* panel, std::int64_t n, std::int64_t t) {
  for (; t + kCount <= a.rows; t += kCount) {
    Row x[kCount];
    typename V::Floats sums[kCount];
    for (int i = 0; i < kCount; ++i) x[i] = row_at<kType>(a, t + i);
    multiply<V, kType, kCount>(panel, x, a.k / kPanelBlock, sums);
    for (int i = 0; i < kCount; ++i) store<V>(a, t + i, n, sums[i]);
  }
  return t;
}

template <typename V, DType kType>
void run(const MatmulArgs& a) {
  const std::int64_t bytes = panel_bytes(panel_format(kType), V::kRows, a.k);
  for (std::int64_t n = a.n_begin; n < a.n_end; n += V::kRows) {
    const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / V::kRows * bytes;
    std::int64_t t = run_tiles<V, kType, V::kTile>(a, panel, n, 0);
    t = run_tiles<V, kType, V::kTile / 2>(a, panel, n, t);
    run_tiles<V, kType, 1>(a, panel, n, t);
  }
}

template <typename V, DType kType>
constexpr MatmulKernel kKernel = {
    V::kRows,
    V::kRows == 8 ? packed_bytes_8 : packed_bytes_16,
    V::kRows == 8 ? pack_8 : pack_16,
    {panel_format(kType).bytes ? V::kBytesName : V::kNibblesName, V::kRows, prepared_rows_bytes,
     prepare<uses_words<V>(panel_format(kType)) ? Planes::kNone : Planes::kWide>, 1, nullptr, run<V, kType>}};

/// Enters the kernels of all quantized types.
template <typename V>
void fill_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulKernel& kernel) {
    slots.matmul[static_cast<int>(type)] = &kernel;
  };
  set(DType::kQ4_0, kKernel<V, DType::kQ4_0>);
  set(DType::kQ4_1, kKernel<V, DType::kQ4_1>);
  set(DType::kQ5_0, kKernel<V, DType::kQ5_0>);
  set(DType::kQ5_1, kKernel<V, DType::kQ5_1>);
  set(DType::kQ8_0, kKernel<V, DType::kQ8_0>);
  set(DType::kQ2_K, kKernel<V, DType::kQ2_K>);
  set(DType::kQ3_K, kKernel<V, DType::kQ3_K>);
  set(DType::kQ4_K, kKernel<V, DType::kQ4_K>);
  set(DType::kQ5_K, kKernel<V, DType::kQ5_K>);
  set(DType::kQ6_K, kKernel<V, DType::kQ6_K>);
}

}  // namespace
}  // namespace tw::kernels
