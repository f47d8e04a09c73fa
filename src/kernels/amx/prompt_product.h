// Prompts times weights by tiles: at most 512 rows meet a pair of panels of which a stretch of K is made
// tiles at a time. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_product.h"

namespace tw::kernels {
namespace {

/// Most blocks of a stretch: 32 KiB of weights of the nearest cache's 48; activations pass it by. A K of at
/// most kWhole blocks is one stretch, so that sums never leave the tiles.
constexpr std::int64_t kStretch = 16, kWhole = 20;
/// Pairs of panels of which partial sums are kept at a time, and most rows that run so: these sums and a
/// stretch of these rows' activations, 0.5 MiB each, stay in the second cache, where the next stretch is
/// fetched meanwhile.
constexpr std::int64_t kPairs = 8, kRowsAtOnce = 512;

std::int64_t stretches_of(std::int64_t blocks) {
  return blocks <= kWhole ? 1 : (blocks + kStretch - 1) / kStretch;
}

/// x / (1 + exp(-x)), off by at most 1e-5 of itself: what comes of it is rounded to bf16.
__m512 silu(__m512 x) {
  // exp(-x) = 2^n e^r, |r| <= ln 2 / 2; the polynomial's remainder r^6 / 6! is below 3e-6.
  const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504F));
  const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_mul_ps(_mm512_sub_ps(t, n), _mm512_set1_ps(0.69314718F));
  __m512 p = _mm512_set1_ps(1.0F / 120);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0F), _mm512_scalef_ps(p, n)));
}

/// 16 columns of gate and the same of up, beside each other in a row of sums: half of each pair of a tile of
/// activations of the next layer. The first half is written first.
class GatedRows {
 public:
  GatedRows(const GatedMatmulArgs& a, std::int64_t row, std::int64_t n)
      : rows_((a.rows + kRows - 1) / kRows * kRows - row), is_first_(n % kPanelBlock == 0) {
    const std::int64_t blocks = a.n / kPanelBlock;
    tile_ = static_cast<std::uint8_t*>(a.out) + (row / kRows * blocks + n / kPanelBlock) * kTileBytes;
    to_second_ = (blocks - 1) * kTileBytes;
  }
  void write(std::int64_t t, __m512 gate, __m512 up) const {
    if (t >= rows_) return;
    std::uint8_t* out = tile_ + t * 64 + (t >= kRows ? to_second_ : 0);
    const __m512 y = _mm512_mul_ps(silu(gate), up);
    const __m512i bits = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(y)));
    _mm512_store_si512(
        out, is_first_ ? bits : _mm512_or_si512(_mm512_load_si512(out), _mm512_slli_epi32(bits, 16)));
  }
  static ResidualRows residual() { return {}; }

 private:
  std::uint8_t* tile_;  ///< of the first 16 rows
  std::int64_t to_second_, rows_;
  bool is_first_;
};

/// A call's memory: sums of the pairs of panels at hand, those that leave the tiles, and the weights' tiles.
struct Scratch {
  float* sums;            ///< [kPairs][pairs of row tiles][32][32]
  float* taken;           ///< [32][32]
  std::uint8_t* weights;  ///< [2][kWhole] tiles
  float* scales;          ///< [2][32], of the columns of a pair of panels of bytes, and of the pair before
};
constexpr std::int64_t kScaleFloats = 64;

/// Of at most kRowsAtOnce rows at a time.
std::int64_t few_scratch_bytes(std::int64_t rows, std::int64_t blocks) {
  const std::int64_t most = rows < kRowsAtOnce ? rows : kRowsAtOnce;
  const std::int64_t kept = stretches_of(blocks) > 1 ? kPairs * pairs_of(most) : 0;
  return (kept + 1) * kPairFloats * 4 + 2 * kWhole * kTileBytes + kScaleFloats * 4;
}

/// Activations of `rows` rows times any two panels at a time.
struct Product : Activations {
  Scratch scratch;
};

Product product_of(const Activations& x, void* memory) {
  Product p{x, {}};
  p.scratch.taken = static_cast<float*>(memory);
  p.scratch.weights = reinterpret_cast<std::uint8_t*>(p.scratch.taken + kPairFloats);
  p.scratch.scales = reinterpret_cast<float*>(p.scratch.weights + 2 * kWhole * kTileBytes);
  p.scratch.sums = p.scratch.scales + kScaleFloats;
  return p;
}

/// Calls f(product, first) for kRowsAtOnce rows from row `first` of all.
template <typename F>
void for_rows(const Activations& all, void* scratch, const F& f) {
  for (std::int64_t first = 0; first < all.rows; first += kRowsAtOnce) {
    const std::int64_t count = all.rows - first < kRowsAtOnce ? all.rows - first : kRowsAtOnce;
    f(product_of({all.tiles(first, 0), count, all.blocks, all.pair_bytes}, scratch), first);
  }
}

/// Which panels run together; the second may be missing.
template <typename Weights>
struct Pair {
  const Weights *first, *second;
  std::int64_t first_panel, second_panel;

  /// Asks for what blocks [begin, end) are made of, within so many steps.
  template <typename Work>
  void fetch(std::int64_t begin, std::int64_t end, std::int64_t steps, Work& chores) const {
    if constexpr (Weights::kInOnePiece) {
      const std::uint8_t* const from = first->from(first_panel, begin);
      chores.fetch(0, from, second == nullptr ? from : second->from(second_panel, begin),
                   first->bytes(begin, end), steps);
    } else {
      first->fetch(first_panel, begin, end);
      if (second != nullptr) second->fetch(second_panel, begin, end);
    }
  }
};

/// A stretch of K: blocks [begin, end), the columns' scales if these are bytes, and where those of the first
/// 32 rows are.
struct Stretch {
  std::int64_t begin, end;
  const float* column_scales = nullptr;
  std::int64_t row_scales = 0;  ///< bytes behind a pair of rows of tiles
};

/// One stretch of pair i, all rows, `kept` their sums. Meanwhile the blocks `next` of their activations are
/// asked for.
template <typename Work>
void run_stretch(const Product& p, const std::uint8_t* const tiles[2], std::int64_t i, float* kept,
                 const Stretch& now, const Stretch& next, Work& chores) {
  const std::int64_t bytes = (next.end - next.begin) * kTileBytes, steps = now.end - now.begin;
  for (std::int64_t row = 0; row < p.rows; row += 2 * kRows, kept += kPairFloats) {
    const Block block{i,
                      row,
                      now.begin == 0 ? nullptr : kept,
                      now.end == p.blocks ? nullptr : kept,
                      row + kRows < p.rows,
                      reinterpret_cast<const float*>(p.tiles(row, 2 * p.blocks) + now.row_scales),
                      now.column_scales};
    const std::uint8_t* x = p.tiles(row, next.begin);
    chores.fetch(1, x, block.both ? x + p.blocks * kTileBytes : x, bytes, steps);
    run_block<false>(p, tiles, block, now.begin, now.end, chores);
  }
}

/// All rows and pairs [first, last), the sums to `out`, of the 16 + 16 outputs of pair_of(i).
template <bool kBytes, typename PairOf, typename Out>
void run_pairs(const Product& p, std::int64_t first, std::int64_t last, const PairOf& pair_of,
               const Out& out) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t stretches = stretches_of(p.blocks);
  const auto stretch = [&](std::int64_t s) -> Stretch {
    return {p.blocks * s / stretches, p.blocks * (s + 1) / stretches};
  };
  Chores<Out, kBytes> chores(out, p.scratch.taken);
  float* scales = p.scratch.scales;
  for (std::int64_t group = first; group < last; group += kPairs) {
    const std::int64_t group_end = group + kPairs < last ? group + kPairs : last;
    for (std::int64_t s = 0; s < stretches; ++s) {
      Stretch now = stretch(s);
      const bool follows = stretches > 1 && (s + 1 < stretches || group_end < last);
      const Stretch following = follows ? stretch((s + 1) % stretches) : Stretch{0, 0};
      const auto part = [&](std::int64_t i) {
        return following.begin + (following.end - following.begin) * i / (group_end - group);
      };
      for (std::int64_t i = group; i < group_end; ++i) {
        const auto pair = pair_of(i);
        std::uint8_t* const room = p.scratch.weights + (now.end - now.begin) * kTileBytes;
        const std::uint8_t* tiles[2] = {p.scratch.weights, room};
        if constexpr (kBytes) {
          pair.first->tiles(pair.first_panel, now.begin, now.end, p.scratch.weights, scales);
          if (pair.second != nullptr)
            pair.second->tiles(pair.second_panel, now.begin, now.end, room, scales + kRows);
          now.column_scales = scales;
          now.row_scales = s * 2 * kRows * 4;
          // The sums before, which go out between the products to come, still have the others.
          scales = scales == p.scratch.scales ? scales + 2 * kRows : p.scratch.scales;
        } else {
          tiles[0] = pair.first->tiles(pair.first_panel, now.begin, now.end, p.scratch.weights);
          if (pair.second != nullptr)
            tiles[1] = pair.second->tiles(pair.second_panel, now.begin, now.end, room);
        }
        if (i + 1 < group_end) {
          const auto next = pair_of(i + 1);
          next.fetch(now.begin, now.end, pairs_of(p.rows) * (now.end - now.begin), chores);
        }
        run_stretch(p, tiles, i, p.scratch.sums + (i - group) * pairs_of(p.rows) * kPairFloats, now,
                    {part(i - group), part(i - group + 1)}, chores);
      }
    }
  }
  chores.finish_all();
}

/// A product, and one of a gated layer, of prepared rows `x`.
template <typename Weights, bool kBytes>
void run_panels(const MatmulArgs& a, const Activations& x) {
  const Weights weights(a.weight, a.n, a.k);
  for_rows(x, a.scratch, [&](const Product& product, std::int64_t first) {
    run_pairs<kBytes>(
        product, a.n_begin / 32, (a.n_end + 31) / 32,
        [&](std::int64_t i) -> Pair<Weights> {
          return {&weights, 32 * i + kRows < a.n ? &weights : nullptr, 2 * i, 2 * i + 1};
        },
        [&](std::int64_t i, std::int64_t row) { return OutRows(a, first + row, 32 * i, false); });
  });
}
template <typename Weights, bool kBytes>
void run_gated_panels(const GatedMatmulArgs& a, const Activations& x) {
  const Weights gate(a.gate, a.n, a.k), up(a.up, a.n, a.k);
  for_rows(x, a.scratch, [&](const Product& product, std::int64_t first) {
    run_pairs<kBytes>(
        product, a.n_begin / kRows, a.n_end / kRows,
        [&](std::int64_t i) -> Pair<Weights> { return {&gate, &up, i, i}; },
        [&](std::int64_t i, std::int64_t row) { return GatedRows(a, first + row, kRows * i); });
  });
}

}  // namespace
}  // namespace tw::kernels
