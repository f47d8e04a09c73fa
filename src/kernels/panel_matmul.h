// Products with quantized weights in panels (panels.h), once for all vector widths: lanes are output rows,
// and weights and activations are multiplied as words of 16 bits, two products to each 32-bit lane.
// Everything is internal to the including file, so that no two sets share a symbol. The including file brings
// a vector policy V:
//   kRows             rows of a panel, lanes of its vectors
//   kTile             activation rows that share what is loaded of the weights: 4 or 8
//   add_products      the products of two words a lane, added to 32 bits
//   Floats, Ints      the vector types, and the few operations on them used below
//
// Few rows take the weights from a panel to registers. From kWideFrom rows on, two panels at a time are
// widened to words in the nearest cache, a stretch of K after the other, and all rows are multiplied with
// them. A row's bits are the same: its sums of integers are exact, and what is rounded comes in one order.
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/pack.h"
#include "kernels/panel_bits.h"
#include "kernels/panel_prepare.h"
#include "kernels/panel_store.h"
#include "kernels/panels.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kAhead = 1024;  ///< bytes of weights that are asked for ahead of their use
constexpr std::int64_t kWideFrom = 8;
/// Rows that are multiplied with a widened stretch: the activations of so many lie in the second cache.
constexpr std::int64_t kWideRows = 64;

/// A prepared row of activations (panels.h).
struct Row {
  const std::int8_t* q;  ///< words of each block
  const float* scales;   ///< [K/32]
  const float* sums;     ///< [K/16] for types with halves, else [K/32]
};

template <DType kType>
Row row_at(const MatmulArgs& a, std::int64_t t) {
  const auto* base = static_cast<const std::int8_t*>(a.x) + t * activation_row_bytes(a.k);
  return {base, reinterpret_cast<const float*>(base + activation_scales_at(a.k)),
          reinterpret_cast<const float*>(base + activation_sums_at(a.k, panel_format(kType).halves))};
}

/// Blocks of 16 have sums of their own.
template <DType kType>
constexpr int kParts = panel_format(kType).halves ? 2 : 1;

/// Nibbles' offset is a minimum; numbers of other bits become signed.
template <DType kType>
constexpr bool kHasMinimums =
    panel_format(kType).minimums || (panel_format(kType).offset != 0 && panel_format(kType).bits == 4);

/// The scales of a block, as factors of (sum of q * x) and of (sum of x): value = scale * q + minimum.
template <typename V>
struct Scales {
  typename V::Floats scale[2], minimum[2];  ///< [1] only for types with halves
};

/// k = 4j .. 4j+3 of each row as int8, of numbers without minimums: 2^up_to_byte times themselves.
template <typename V, DType kType, int j>
[[gnu::always_inline]] inline typename V::Ints signed_numbers(const std::uint8_t* weights) {
  constexpr PanelFormat f = panel_format(kType);
  if constexpr (f.bits == 8)
    return V::load(weights + j * V::kRows * 4);
  else
    return V::differ(numbers<V, f.bits, up_to_byte(f), j>(weights), V::all16(0x8080));
}

/// Goes through the blocks of a panel.
template <typename V, DType kType>
struct PanelReader {
  static constexpr PanelFormat kFormat = panel_format(kType);
  static constexpr std::int64_t kScaleBytes = panel_scale_bytes(kFormat, V::kRows);
  static constexpr std::int64_t kWeightBytes = panel_weight_bytes(kFormat, V::kRows);

  const std::uint8_t* p;
  typename V::Floats d = V::zeros(), dmin = V::zeros();  ///< of a super-block

  /// Scales of block number `block`, the next one; then p is at its weights.
  [[gnu::always_inline]] Scales<V> scales(std::int64_t block) {
    if constexpr (kFormat.super) {
      if (block % 8 == 0) {
        d = V::halves(p);
        if constexpr (kFormat.minimums) dmin = V::halves(p + 2 * V::kRows);
        p += panel_header_bytes(kFormat, V::kRows);
      }
    }
    Scales<V> s{};
    for (int h = 0; h < kParts<kType>; ++h) {
      s.scale[h] = kFormat.super ? V::mul(d, V::signed_bytes(p + h * V::kRows)) : V::halves(p);
      if constexpr (kFormat.minimums && kFormat.super) {
        const std::uint8_t* n = p + (kParts<kType> + h) * V::kRows;
        s.minimum[h] = V::sub(V::zeros(), V::mul(dmin, V::bytes(n)));
      } else if constexpr (kFormat.minimums) {
        s.minimum[h] = V::halves(p + 2 * V::kRows);
      } else if constexpr (kHasMinimums<kType>) {
        s.minimum[h] = V::mul(s.scale[h], V::all(-static_cast<float>(kFormat.offset)));
      }
    }
    p += kScaleBytes;
    return s;
  }
  void weights_done() { p += kWeightBytes; }
};

/// Part j of a block's weights as words, to take(group, even, odd): k = 4 * group and the one after the next,
/// and the two between and behind them.
template <typename V, DType kType, int j, typename Take>
[[gnu::always_inline]] inline void unpack(const std::uint8_t* weights, Take take) {
  constexpr PanelFormat f = panel_format(kType);
  if constexpr (f.bits == 4) {
    const typename V::Ints v = V::load(weights + j * V::kRows * 4);
    const typename V::Ints low = V::all16(15), up = V::template right16<4>(v);
    take(j, V::both(v, low), V::both(V::template right16<8>(v), low));
    take(j + 4, V::both(up, low), V::template right16<12>(v));
  } else if constexpr (f.minimums) {
    const typename V::Ints v = numbers<V, f.bits, 0, j>(weights);
    take(j, V::both(v, V::all16(0xFF)), V::template right16<8>(v));
  } else {
    const typename V::Ints v = signed_numbers<V, kType, j>(weights);
    constexpr int kDown = 8 + up_to_byte(f);
    take(j, V::template signed_right16<kDown>(V::template left16<8>(v)),
         V::template signed_right16<kDown>(v));
  }
}
template <DType kType>
constexpr int kVectors = panel_format(kType).bits == 4 ? 4 : 8;

/// Adds a block's products and minimums to a row's sum; the order of these additions is what makes its bits.
template <typename V, DType kType>
[[gnu::always_inline]] inline typename V::Floats add_block(typename V::Floats sum,
                                                           const typename V::Ints* totals, int stride,
                                                           const Scales<V>& s, const Row& x,
                                                           std::int64_t block) {
  const typename V::Floats scale = V::all(x.scales[block]);
  for (int h = 0; h < kParts<kType>; ++h) {
    sum = V::fma(V::to_floats(totals[h * stride]), V::mul(s.scale[h], scale), sum);
  }
  if constexpr (kHasMinimums<kType>) {
    for (int h = 0; h < kParts<kType>; ++h) {
      sum = V::fma(s.minimum[h], V::all(x.sums[kParts<kType> * block + h]), sum);
    }
  }
  return sum;
}

/// kCount activation rows times one panel.
template <typename V, DType kType, int kCount>
void multiply(const std::uint8_t* panel, const Row* x, std::int64_t blocks, typename V::Floats* sums) {
  using Reader = PanelReader<V, kType>;
  constexpr std::int64_t kBlockBytes = Reader::kScaleBytes + Reader::kWeightBytes;
  Reader reader{panel};
  typename V::Floats sum[kCount];
  for (int t = 0; t < kCount; ++t) sum[t] = V::zeros();
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (std::int64_t line = 0; line < kBlockBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(reader.p + kAhead + line), _MM_HINT_T0);
    }
    const Scales<V> scales = reader.scales(block);
    typename V::Ints total[kParts<kType> * kCount];
    for (auto& t : total) t = V::zero_ints();
    repeat<kVectors<kType>>([&](auto j) {
      unpack<V, kType, j.value>(reader.p, [&](int group, typename V::Ints even, typename V::Ints odd) {
        const int part = kParts<kType> == 2 ? group / 4 : 0;
        repeat<kCount>([&](auto t) {
          const std::int8_t* q = x[t.value].q + block * 2 * kPanelBlock + 8 * group;
          typename V::Ints& into = total[part * kCount + t.value];
          into = V::in_register(V::add_products(into, even, V::four(q)));
          into = V::in_register(V::add_products(into, odd, V::four(q + 4)));
        });
      });
    });
    for (int t = 0; t < kCount; ++t) {
      sum[t] = add_block<V, kType>(sum[t], total + t, kCount, scales, x[t], block);
    }
    reader.weights_done();
  }
  for (int t = 0; t < kCount; ++t) sums[t] = sum[t];
}

/// Rows [t, end) against one panel, kCount at a time; returns the first row that is left over.
template <typename V, DType kType, int kCount>
std::int64_t run_tiles(const MatmulArgs& a, const std::uint8_t* panel, std::int64_t n, std::int64_t t,
                       std::int64_t end) {
  for (; t + kCount <= end; t += kCount) {
    Row x[kCount];
    typename V::Floats sums[kCount];
    for (int i = 0; i < kCount; ++i) x[i] = row_at<kType>(a, t + i);
    multiply<V, kType, kCount>(panel, x, a.k / kPanelBlock, sums);
    for (int i = 0; i < kCount; ++i) store<V>(a, t + i, n, sums[i]);
  }
  return t;
}

template <typename V, DType kType>
void run_few(const MatmulArgs& a, const std::uint8_t* panel, std::int64_t n, std::int64_t t,
             std::int64_t end) {
  t = run_tiles<V, kType, V::kTile>(a, panel, n, t, end);
  t = run_tiles<V, kType, V::kTile / 2>(a, panel, n, t, end);
  run_tiles<V, kType, 1>(a, panel, n, t, end);
}

/// What two panels are widened to (in a worker's scratch), a stretch of K at a time.
template <typename V>
struct Wide {
  static constexpr int kStretch = 128 / V::kRows;  ///< blocks, a multiple of a super-block's
  typename V::Ints words[kStretch][2][16];         ///< 2 * group: its even k; 2 * group + 1: its odd ones
  Scales<V> scales[kStretch][2];
  typename V::Floats sums[kWideRows][2];  ///< of the stretches so far
};

template <typename V>
std::int64_t wide_bytes(std::int64_t, std::int64_t) {
  return sizeof(Wide<V>);
}

template <typename V, DType kType>
void widen(Wide<V>& wide, PanelReader<V, kType>& reader, int panel, std::int64_t block, std::int64_t count) {
  for (std::int64_t b = 0; b < count; ++b) {
    wide.scales[b][panel] = reader.scales(block + b);
    typename V::Ints* words = wide.words[b][panel];
    repeat<kVectors<kType>>([&](auto j) {
      unpack<V, kType, j.value>(reader.p, [&](int group, typename V::Ints even, typename V::Ints odd) {
        words[2 * group] = even;
        words[2 * group + 1] = odd;
      });
    });
    reader.weights_done();
  }
}

/// Two panels' stretch of `count` blocks from `block` on, times kTile rows.
template <typename V, DType kType>
void multiply_wide(const Wide<V>& wide, const Row* x, std::int64_t block, std::int64_t count,
                   typename V::Floats (*sums)[2]) {
  for (std::int64_t b = 0; b < count; ++b) {
    typename V::Ints total[kParts<kType>][2][V::kTile];
    const std::int8_t* q[V::kTile];
    for (int t = 0; t < V::kTile; ++t) q[t] = x[t].q + (block + b) * 2 * kPanelBlock;
    repeat<kParts<kType>>([&](auto part) {
      typename V::Ints now[2][V::kTile];
      for (auto& panel : now)
        for (auto& sum : panel) sum = V::zero_ints();
      constexpr int kWords = 16 / kParts<kType>;
      repeat<kWords>([&](auto word) {
        constexpr int i = decltype(part)::value * kWords + decltype(word)::value;
        const typename V::Ints w[2] = {V::in_register(wide.words[b][0][i]),
                                       V::in_register(wide.words[b][1][i])};
        repeat<V::kTile>([&](auto t) {
          const typename V::Ints four = V::in_register(V::four(q[t.value] + 4 * i));
          for (int p = 0; p < 2; ++p) {
            now[p][t.value] = V::in_register(V::add_products(now[p][t.value], w[p], four));
          }
        });
      });
      for (int p = 0; p < 2; ++p)
        for (int t = 0; t < V::kTile; ++t) total[part.value][p][t] = now[p][t];
    });
    for (int t = 0; t < V::kTile; ++t) {
      for (int p = 0; p < 2; ++p) {
        sums[t][p] = add_block<V, kType>(sums[t][p], &total[0][p][t], 2 * V::kTile, wide.scales[b][p], x[t],
                                         block + b);
      }
    }
  }
}

/// Rows [begin, end), at most kWideRows and a multiple of kTile, against the two panels from column n on.
template <typename V, DType kType>
void run_wide(const MatmulArgs& a, const std::uint8_t* const* panels, std::int64_t n, std::int64_t begin,
              std::int64_t end) {
  auto& wide = *static_cast<Wide<V>*>(a.scratch);
  PanelReader<V, kType> readers[2] = {{panels[0]}, {panels[1]}};
  for (std::int64_t t = 0; t < end - begin; ++t) wide.sums[t][0] = wide.sums[t][1] = V::zeros();
  const std::int64_t blocks = a.k / kPanelBlock;
  for (std::int64_t block = 0; block < blocks; block += Wide<V>::kStretch) {
    const std::int64_t left = blocks - block, count = left < Wide<V>::kStretch ? left : Wide<V>::kStretch;
    for (int p = 0; p < 2; ++p) widen<V, kType>(wide, readers[p], p, block, count);
    for (std::int64_t t = begin; t < end; t += V::kTile) {
      Row x[V::kTile];
      for (int i = 0; i < V::kTile; ++i) x[i] = row_at<kType>(a, t + i);
      multiply_wide<V, kType>(wide, x, block, count, wide.sums + (t - begin));
    }
  }
  for (std::int64_t t = begin; t < end; ++t)
    for (int p = 0; p < 2; ++p) store<V>(a, t, n + p * V::kRows, wide.sums[t - begin][p]);
}

template <typename V, DType kType>
void run(const MatmulArgs& a) {
  const std::int64_t bytes = panel_bytes(panel_format(kType), V::kRows, a.k);
  const auto panel_at = [&](std::int64_t n) {
    return static_cast<const std::uint8_t*>(a.weight) + n / V::kRows * bytes;
  };
  const std::int64_t tiled = a.rows < kWideFrom ? 0 : a.rows / V::kTile * V::kTile;
  for (std::int64_t begin = 0; begin < tiled; begin += kWideRows) {
    const std::int64_t end = begin + kWideRows < tiled ? begin + kWideRows : tiled;
    std::int64_t n = a.n_begin;
    for (; n + V::kRows < a.n_end; n += 2 * V::kRows) {
      const std::uint8_t* panels[2] = {panel_at(n), panel_at(n + V::kRows)};
      run_wide<V, kType>(a, panels, n, begin, end);
    }
    if (n < a.n_end) run_few<V, kType>(a, panel_at(n), n, begin, end);
  }
  for (std::int64_t n = a.n_begin; n < a.n_end; n += V::kRows)
    run_few<V, kType>(a, panel_at(n), n, tiled, a.rows);
}

template <typename V, DType kType>
constexpr MatmulKernel kKernel = {V::kRows,
                                  V::kRows == 8 ? packed_bytes_8 : packed_bytes_16,
                                  V::kRows == 8 ? pack_8 : pack_16,
                                  {V::kNames[name_of(panel_format(kType))], V::kRows, prepared_rows_bytes,
                                   prepare<Planes::kNone>, 1, wide_bytes<V>, run<V, kType>}};

/// Enters the kernels of all quantized types.
template <typename V>
void fill_slots(KernelSlots& slots) {
  for_panel_types([&]<DType kType>() { slots.matmul[static_cast<int>(kType)] = &kKernel<V, kType>; });
}

}  // namespace
}  // namespace tw::kernels
