// Products with palettized weights in panels (panels.h), once for all vector widths: lanes are output rows
// that share a table, which stays in a register, and a weight is looked up in it and multiplied in fp32.
// Everything is internal to the including file. It brings a vector policy V:
//   kRows      rows of a panel, lanes of its vectors
//   kTile      activation rows that share one look-up, a multiple of 2
//   kSums      sums of a row and output, taken in turns: additions of one would wait for each other
//   Table, table(p), look_up<kBits, kShift>(table, codes)
//              the entries whose numbers are bits [kShift, kShift + kBits) of each lane
//   Floats, Ints      the vector types, and the few operations on them used below
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/pack.h"
#include "kernels/panel_store.h"
#include "kernels/panels.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

/// A block's weights, from its codes.
template <typename V, int kBits>
class LookedUp {
 public:
  static constexpr std::int64_t kBlock = V::kRows * kPanelBlock / 8 * kBits;  ///< bytes

  LookedUp(const std::uint8_t* panel, std::int64_t block)
      : table_(V::table(panel)), codes_(panel + kPaletteTable + block * kBlock) {}
  /// Of every row: number `kCode` in the order of codes.
  template <int kCode>
  TW_INLINE typename V::Floats weight() const {
    constexpr int kEach = 32 / kBits;
    return V::template look_up<kBits, kCode % kEach * kBits>(table_,
                                                             V::load(codes_ + kCode / kEach * V::kRows * 4));
  }
  TW_INLINE void fetch() const {
    constexpr std::int64_t kAhead = 2048;  // bytes
    for (std::int64_t i = 0; i < kBlock; i += 64) __builtin_prefetch(codes_ + kAhead + i);
  }

 private:
  typename V::Table table_;
  const std::uint8_t* codes_;
};

/// The same, made before.
template <typename V>
class Made {
 public:
  Made(const float* weights, std::int64_t block) : weights_(weights + block * kPanelBlock * V::kRows) {}
  template <int kCode>
  TW_INLINE typename V::Floats weight() const {
    return V::load_floats(weights_ + kCode * V::kRows);
  }
  TW_INLINE void fetch() const {}

 private:
  const float* weights_;
};

/// A whole panel: for every block and code a vector.
template <typename V, int kBits>
void make_weights(const std::uint8_t* panel, std::int64_t blocks, float* out) {
  for (std::int64_t block = 0; block < blocks; ++block, out += kPanelBlock * V::kRows) {
    const LookedUp<V, kBits> weights(panel, block);
    repeat<kPanelBlock>(
        [&](auto code) { V::store(out + code.value * V::kRows, weights.template weight<code.value>()); });
  }
}

template <typename V, int kCount>
struct PaletteSums {
  typename V::Floats of[kCount][V::kSums];
};

/// One block against kCount activation rows; the order of these additions is what makes a row's bits.
template <typename V, int kBits, int kCount, typename Weights>
TW_INLINE void add_block(const Weights& weights, const float* const* x, PaletteSums<V, kCount>& sums) {
  weights.fetch();
  repeat<kPanelBlock>([&](auto code) {
    constexpr int kColumn = palette_column(kBits, code.value), kSum = code.value % V::kSums;
    const typename V::Floats w = weights.template weight<code.value>();
    repeat<kCount>([&](auto t) {
      auto& sum = sums.of[t.value][kSum];
      sum = V::fma(w, V::all(x[t.value][kColumn]), sum);
    });
  });
}

/// Columns past the last whole block, filled up with zeros.
template <int kCount>
struct LastColumns {
  float values[kCount][kPanelBlock] = {};
  const float* rows[kCount];

  LastColumns(const float* const* x, std::int64_t count) {
    for (int t = 0; t < kCount; ++t) {
      for (std::int64_t k = 0; k < count; ++k) values[t][k] = x[t][k];
      rows[t] = values[t];
    }
  }
};

/// Rows from t on against one panel, kCount at a time; returns the first row that is left over.
/// weights_of(block) gives a block's.
template <typename V, int kBits, int kCount, typename WeightsOf>
std::int64_t palette_rows(const MatmulArgs& a, std::int64_t n, std::int64_t t, const WeightsOf& weights_of) {
  const std::int64_t whole = a.k / kPanelBlock;
  for (; t + kCount <= a.rows; t += kCount) {
    const float* x[kCount];
    PaletteSums<V, kCount> sums;
    repeat<kCount>([&](auto i) {
      x[i.value] = static_cast<const float*>(a.x) + (t + i.value) * a.k;
      repeat<V::kSums>([&](auto s) { sums.of[i.value][s.value] = V::zeros(); });
    });
    for (std::int64_t block = 0; block < whole; ++block) {
      add_block<V, kBits, kCount>(weights_of(block), x, sums);
      repeat<kCount>([&](auto i) { x[i.value] += kPanelBlock; });
    }
    if (a.k % kPanelBlock != 0) {
      const LastColumns<kCount> last(x, a.k % kPanelBlock);
      add_block<V, kBits, kCount>(weights_of(whole), last.rows, sums);
    }
    repeat<kCount>([&](auto i) {
      typename V::Floats sum = sums.of[i.value][0];
      repeat<V::kSums - 1>([&](auto s) { sum = V::plus(sum, sums.of[i.value][s.value + 1]); });
      store<V>(a, t + i.value, n, sum);
    });
  }
  return t;
}

/// All rows against one panel.
template <typename V, int kBits, typename WeightsOf>
void palette_panel(const MatmulArgs& a, std::int64_t n, const WeightsOf& weights_of) {
  std::int64_t t = palette_rows<V, kBits, V::kTile>(a, n, 0, weights_of);
  t = palette_rows<V, kBits, V::kTile / 2>(a, n, t, weights_of);
  palette_rows<V, kBits, 1>(a, n, t, weights_of);
}

inline std::int64_t palette_blocks(std::int64_t k) {
  return (k + kPanelBlock - 1) / kPanelBlock;
}

/// Of a panel's weights as numbers, for more rows than share a look-up.
template <typename V>
std::int64_t palette_scratch(std::int64_t rows, std::int64_t k) {
  return rows <= V::kTile ? 0 : palette_blocks(k) * kPanelBlock * V::kRows * 4;
}

template <typename V, int kBits>
void run_palette(const MatmulArgs& a) {
  const std::int64_t bytes = palette_panel_bytes(kBits, V::kRows, a.k);
  auto* made = static_cast<float*>(a.scratch);
  for (std::int64_t n = a.n_begin; n < a.n_end; n += V::kRows) {
    const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / V::kRows * bytes;
    if (a.rows <= V::kTile) {
      palette_panel<V, kBits>(a, n, [&](std::int64_t block) { return LookedUp<V, kBits>(panel, block); });
    } else {
      make_weights<V, kBits>(panel, palette_blocks(a.k), made);
      palette_panel<V, kBits>(a, n, [&](std::int64_t block) { return Made<V>(made, block); });
    }
  }
}

template <typename V, int kBits>
constexpr MatmulKernel kPaletteKernel = {
    V::kRows,
    V::kRows == 8 ? packed_bytes_8 : packed_bytes_16,
    V::kRows == 8 ? pack_8 : pack_16,
    {V::kName, V::kRows, nullptr, nullptr, 1, palette_scratch<V>, run_palette<V, kBits>}};

template <typename V>
void fill_palette_slots(KernelSlots& slots) {
  slots.matmul[static_cast<int>(DType::kPalette4)] = &kPaletteKernel<V, 4>;
  slots.matmul[static_cast<int>(DType::kPalette2)] = &kPaletteKernel<V, 2>;
}

}  // namespace
}  // namespace tw::kernels
