// Prompts times weights by bf16 tiles (bf16_product.h): quantized weights are made bf16 a stretch at a time,
// or for many rows a group of panels. F32 weights stay fp32.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_palette.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/bf16_rows.h"
#include "kernels/amx/bf16_weights.h"
#include "kernels/amx/sides_product.h"

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
};

std::int64_t few_scratch_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t most = rows < kRowsAtOnce ? rows : kRowsAtOnce;
  const std::int64_t kept = stretches_of(blocks_of(k)) > 1 ? kPairs * pairs_of(most) : 0;
  return (kept + 1) * kPairFloats * 4 + 2 * kWhole * kTileBytes;
}

/// Of more rows: sums, and the tiles of a group of panels.
std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t few = few_scratch_bytes(rows, k), blocks = blocks_of(k);
  if (rows <= kRowsAtOnce) return few;
  const std::int64_t many = kSumBytes + pairs_at_once(blocks) * 2 * blocks * kTileBytes;
  return few > many ? few : many;  // a gated product takes its rows kRowsAtOnce at a time
}

/// Activations of `rows` rows times any two panels at a time.
struct Product : Activations {
  Scratch scratch;
};

Product product_of(const void* x, std::int64_t rows, std::int64_t k, void* memory) {
  Product p{{static_cast<const std::uint8_t*>(x), rows, blocks_of(k)}, {}};
  p.scratch.taken = static_cast<float*>(memory);
  p.scratch.weights = reinterpret_cast<std::uint8_t*>(p.scratch.taken + kPairFloats);
  p.scratch.sums = reinterpret_cast<float*>(p.scratch.weights + 2 * kWhole * kTileBytes);
  return p;
}

/// Calls f(product, first) for kRowsAtOnce rows from row `first`.
template <typename F>
void for_rows(const void* x, std::int64_t rows, std::int64_t k, void* scratch, const F& f) {
  for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
    const std::int64_t count = rows - first < kRowsAtOnce ? rows - first : kRowsAtOnce;
    f(product_of(static_cast<const std::uint8_t*>(x) + first / kRows * blocks_of(k) * kTileBytes, count, k,
                 scratch),
      first);
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

/// A stretch of K: blocks [begin, end).
struct Stretch {
  std::int64_t begin, end;
};

/// One stretch of pair i, all rows, `kept` their sums. Meanwhile the blocks `next` of their activations are
/// asked for.
template <typename Work>
void run_stretch(const Product& p, const std::uint8_t* const tiles[2], std::int64_t i, float* kept,
                 const Stretch& now, const Stretch& next, Work& chores) {
  const std::int64_t bytes = (next.end - next.begin) * kTileBytes, steps = now.end - now.begin;
  for (std::int64_t row = 0; row < p.rows; row += 2 * kRows, kept += kPairFloats) {
    const Block block{i, row, now.begin == 0 ? nullptr : kept, now.end == p.blocks ? nullptr : kept,
                      row + kRows < p.rows};
    const std::uint8_t* x = p.x + (row / kRows * p.blocks + next.begin) * kTileBytes;
    chores.fetch(1, x, block.both ? x + p.blocks * kTileBytes : x, bytes, steps);
    run_block<false>(p, tiles, block, now.begin, now.end, chores);
  }
}

/// All rows and pairs [first, last), the sums to `out`, of the 16 + 16 outputs of pair_of(i).
template <typename PairOf, typename Out>
void run_pairs(const Product& p, std::int64_t first, std::int64_t last, const PairOf& pair_of,
               const Out& out) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t stretches = stretches_of(p.blocks);
  const auto stretch = [&](std::int64_t s) -> Stretch {
    return {p.blocks * s / stretches, p.blocks * (s + 1) / stretches};
  };
  Chores<Out> chores(out, p.scratch.taken);
  for (std::int64_t group = first; group < last; group += kPairs) {
    const std::int64_t group_end = group + kPairs < last ? group + kPairs : last;
    for (std::int64_t s = 0; s < stretches; ++s) {
      const Stretch now = stretch(s);
      const bool follows = stretches > 1 && (s + 1 < stretches || group_end < last);
      const Stretch following = follows ? stretch((s + 1) % stretches) : Stretch{0, 0};
      const auto part = [&](std::int64_t i) {
        return following.begin + (following.end - following.begin) * i / (group_end - group);
      };
      for (std::int64_t i = group; i < group_end; ++i) {
        const auto pair = pair_of(i);
        std::uint8_t* const room = p.scratch.weights + (now.end - now.begin) * kTileBytes;
        const std::uint8_t* tiles[2] = {
            pair.first->tiles(pair.first_panel, now.begin, now.end, p.scratch.weights), room};
        if (pair.second != nullptr)
          tiles[1] = pair.second->tiles(pair.second_panel, now.begin, now.end, room);
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

/// More than kRowsAtOnce rows, which training has: tiles are made of a group of panels, once, and all rows
/// meet them in the second cache. Sums are added in the same order.
template <typename Weights, typename Out>
void run_many(const MatmulArgs& a, const Out& out) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const Weights weights(a.weight, a.n, a.k);
  const std::int64_t blocks = blocks_of(a.k);
  auto* const room = static_cast<std::uint8_t*>(a.scratch) + kSumBytes;
  const auto tiles_of_group = [&](std::int64_t first, std::int64_t last) {
    std::uint8_t* to = room;
    for (std::int64_t panel = 2 * first; panel < 2 * last && kRows * panel < a.n; ++panel) {
      weights.tiles(panel, 0, blocks, to);
      to += blocks * kTileBytes;
    }
    return Right{room, first, 0, blocks};
  };
  run_groups(a, {0, blocks, stretches_of(blocks)}, tiles_of_group, out);
}

template <typename Weights>
void run_rounded(const MatmulArgs& a, void* side) {
  run_many<Weights>(a, [&](std::int64_t i, std::int64_t row) { return LeftRows(a, side, row, i); });
}

template <typename Weights>
void run(const MatmulArgs& a) {
  if (a.rows > kRowsAtOnce)
    return run_many<Weights>(a,
                             [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, true); });
  const Weights weights(a.weight, a.n, a.k);
  run_pairs(
      product_of(a.x, a.rows, a.k, a.scratch), a.n_begin / 32, (a.n_end + 31) / 32,
      [&](std::int64_t i) -> Pair<Weights> {
        return {&weights, 32 * i + kRows < a.n ? &weights : nullptr, 2 * i, 2 * i + 1};
      },
      [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, false); });
}

template <typename Weights>
void run_gated(const GatedMatmulArgs& a) {
  const Weights gate(a.gate, a.n, a.k), up(a.up, a.n, a.k);
  for_rows(a.x, a.rows, a.k, a.scratch, [&](const Product& product, std::int64_t first) {
    run_pairs(
        product, a.n_begin / kRows, a.n_end / kRows,
        [&](std::int64_t i) -> Pair<Weights> { return {&gate, &up, i, i}; },
        [&](std::int64_t i, std::int64_t row) { return GatedRows(a, first + row, kRows * i); });
  });
}

template <typename Weights>
constexpr MatmulPath path(const char* name) {
  return {name,          2 * kRows,    prepared_bytes,     prepare, kRows,
          scratch_bytes, run<Weights>, run_gated<Weights>, true,    run_rounded<Weights>};
}

constexpr const char* kNames[] = {"amx bf16 tiles, from bytes", "amx bf16 tiles, from nibbles",
                                  "amx bf16 tiles, from bits"};
template <DType kType>
constexpr MatmulPath kPath = path<PanelWeights<kType>>(kNames[name_of(panel_format(kType))]);
template <int kBits>
constexpr MatmulPath kPalettePath = path<PaletteWeights<kBits>>("amx bf16 tiles, from palettes");
constexpr MatmulPath kBF16 = path<RowWeights<DType::kBF16>>("amx bf16 tiles");
constexpr MatmulPath kF16 = path<RowWeights<DType::kF16>>("amx bf16 tiles, from fp16");

}  // namespace

void amx_prefill_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulPath& path) { slots.prefill[static_cast<int>(type)] = &path; };
  set(DType::kBF16, kBF16);
  set(DType::kF16, kF16);
  set(DType::kQ4_0, kPath<DType::kQ4_0>);
  set(DType::kQ4_1, kPath<DType::kQ4_1>);
  set(DType::kQ5_0, kPath<DType::kQ5_0>);
  set(DType::kQ5_1, kPath<DType::kQ5_1>);
  set(DType::kQ8_0, kPath<DType::kQ8_0>);
  set(DType::kQ2_K, kPath<DType::kQ2_K>);
  set(DType::kQ3_K, kPath<DType::kQ3_K>);
  set(DType::kQ4_K, kPath<DType::kQ4_K>);
  set(DType::kQ5_K, kPath<DType::kQ5_K>);
  set(DType::kQ6_K, kPath<DType::kQ6_K>);
  set(DType::kPalette4, kPalettePath<4>);
  set(DType::kPalette2, kPalettePath<2>);
}

}  // namespace tw::kernels
