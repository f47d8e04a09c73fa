// Prompts times weights by bf16 tiles: of a pair of panels (32 output rows) a stretch of K is made bf16 in
// the nearest cache, and then used by all rows of the step. F32 weights stay fp32.
//
// A tile of weights is one block of a panel: 16 rows of pairs (k, k + 16) for 16 output rows; a tile of
// activations is 16 rows of the step, each block of 32 in the same order of pairs. Sums stay in fp32. The
// bits of a row depend on itself alone: a tile's rows do not mix, and stretches are cut by K alone.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_rows.h"
#include "kernels/amx/bf16_weights.h"
#include "kernels/amx/tiles.h"
#include "kernels/args.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

/// Most blocks of a stretch: 18 KiB of weights, and with activations 36 of the nearest cache's 48. A K of at
/// most kWhole blocks is one stretch, so that sums never leave the tiles: activations pass the cache by,
/// which leaves it 40 KiB of weights.
constexpr std::int64_t kStretch = 9, kWhole = 20;
/// Pairs of panels of which partial sums are kept at a time.
constexpr std::int64_t kPairs = 8;
constexpr std::int64_t kPairFloats = 2 * kRows * 2 * kRows;

std::int64_t pairs_of(std::int64_t rows) {
  return (rows + 2 * kRows - 1) / (2 * kRows);
}

std::int64_t stretches_of(std::int64_t blocks) {
  return blocks <= kWhole ? 1 : (blocks + kStretch - 1) / kStretch;
}

/// Whole or not.
std::int64_t blocks_of(std::int64_t k) {
  return (k + kPanelBlock - 1) / kPanelBlock;
}

// --- activations

std::int64_t prepared_bytes(std::int64_t rows, std::int64_t k) {
  return pairs_of(rows) * 2 * blocks_of(k) * kTileBytes;
}

/// Lanes that exist of 16.
__mmask16 lanes(std::int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xFFFF : left <= 0 ? 0 : (1 << left) - 1);
}

/// 32 values, `left` of them there, as bf16 pairs (k, k + 16).
__m512i pairs(const float* x, std::int64_t left) {
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes(left), x)));
  const auto high =
      reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes(left - 16), x + 16)));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/// Tile by tile: [row / 16][k / 32][row % 16][32]. The last tile's missing rows are zero.
void prepare(const PrepareArgs& a) {
  const std::int64_t blocks = blocks_of(a.k);
  for (std::int64_t row = a.row_begin; row < (a.row_end + kRows - 1) / kRows * kRows; ++row) {
    auto* out = static_cast<std::uint8_t*>(a.prepared) + row / kRows * blocks * kTileBytes + row % kRows * 64;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t at = block * kPanelBlock;
      const __m512i v =
          row < a.row_end ? pairs(a.x + row * a.x_stride + at, a.k - at) : _mm512_setzero_si512();
      _mm512_store_si512(out + block * kTileBytes, v);
    }
  }
}

// --- the product

/// Partial sums of 32 rows and 32 columns: tiles 0 and 1 are the first 16 rows, 2 and 3 the others.
template <bool kBoth>
void load_sums(const float* sums) {
  tile_load<0>(sums, 128);
  tile_load<1>(sums + 16, 128);
  if constexpr (kBoth) {
    tile_load<2>(sums + 512, 128);
    tile_load<3>(sums + 528, 128);
  }
}
template <bool kBoth>
void zero_sums() {
  tile_zero<0>();
  tile_zero<1>();
  if constexpr (kBoth) {
    tile_zero<2>();
    tile_zero<3>();
  }
}
template <bool kBoth>
void store_sums(float* sums) {
  tile_store<0>(sums, 128);
  tile_store<1>(sums + 16, 128);
  if constexpr (kBoth) {
    tile_store<2>(sums + 512, 128);
    tile_store<3>(sums + 528, 128);
  }
}

/// Adds `count` blocks; x1 is the second tile of rows. Loads between the products keep the multiplier busier
/// than loads before them (by 8 % from the second cache).
template <bool kBoth>
void add_blocks(const std::uint8_t* x0, const std::uint8_t* x1, const std::uint8_t* weights,
                std::int64_t count) {
  const std::uint8_t* others = weights + count * kTileBytes;
  for (std::int64_t i = 0; i < count * kTileBytes; i += kTileBytes) {
    tile_load<6>(weights + i, 64);
    tile_load_passing<4>(x0 + i, 64);
    tile_dot_bf16<0, 4, 6>();
    tile_load<7>(others + i, 64);
    tile_dot_bf16<1, 4, 7>();
    if constexpr (kBoth) {
      tile_load_passing<5>(x1 + i, 64);
      tile_dot_bf16<3, 5, 7>();
      tile_dot_bf16<2, 5, 6>();
    }
  }
}

/// Bias and residual, then out: the rows and columns that exist of 32 by 32 sums.
void write_out(const MatmulArgs& a, std::int64_t row, std::int64_t n, const float* sums) {
  const std::int64_t rows = a.rows - row < 32 ? a.rows - row : 32;
  for (std::int64_t half = 0; half < 32 && n + half < a.n_end; half += 16) {
    const std::int64_t columns = a.n_end - n - half;
    const __mmask16 mask = lanes(columns);
    const __m512 bias =
        a.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, a.bias + n + half);
    for (std::int64_t t = 0; t < rows; ++t) {
      const std::int64_t at = (row + t) * a.out_stride + n + half;
      __m512 y = _mm512_add_ps(_mm512_load_ps(sums + t * 32 + half), bias);
      if (a.residual != nullptr) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, a.residual + at));
      _mm512_mask_storeu_ps(a.out + at, mask, y);
    }
  }
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

/// The same for 16 columns of gate and the same of up, beside each other in `sums`: half of each pair of a
/// tile of activations of the next layer. The first half is written first.
void write_gated(const GatedMatmulArgs& a, std::int64_t row, std::int64_t n, const float* sums) {
  const std::int64_t blocks = a.n / kPanelBlock;
  auto* out = static_cast<std::uint8_t*>(a.out) + (row / kRows * blocks + n / kPanelBlock) * kTileBytes;
  for (std::int64_t t = 0; t < 32 && row + t < (a.rows + kRows - 1) / kRows * kRows; ++t) {
    if (t == kRows) out += (blocks - 1) * kTileBytes;
    const __m512 y = _mm512_mul_ps(silu(_mm512_load_ps(sums + t * 32)), _mm512_load_ps(sums + t * 32 + 16));
    const __m512i bits = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(y)));
    const bool first = n % kPanelBlock == 0;
    _mm512_store_si512(
        out + t * 64,
        first ? bits : _mm512_or_si512(_mm512_load_si512(out + t * 64), _mm512_slli_epi32(bits, 16)));
  }
}

/// A call's memory: sums of the pairs of panels at hand, one more for the last stretch, and the weights'
/// tiles.
struct Scratch {
  float* sums;  ///< [kPairs][pairs of row tiles][32][32]
  float* last;
  std::uint8_t* weights;  ///< [2][kWhole] tiles
};

std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t kept = stretches_of(blocks_of(k)) > 1 ? kPairs * pairs_of(rows) : 0;
  return (kept + 1) * kPairFloats * 4 + 2 * kWhole * kTileBytes;
}

/// Activations of `rows` rows times any two panels at a time.
struct Product {
  const std::uint8_t* x;
  std::int64_t rows, blocks;
  Scratch scratch;
};

Product product_of(const void* x, std::int64_t rows, std::int64_t k, void* memory) {
  Product p{static_cast<const std::uint8_t*>(x), rows, blocks_of(k), {}};
  p.scratch.last = static_cast<float*>(memory);
  p.scratch.weights = reinterpret_cast<std::uint8_t*>(p.scratch.last + kPairFloats);
  p.scratch.sums = reinterpret_cast<float*>(p.scratch.weights + 2 * kWhole * kTileBytes);
  return p;
}

/// Blocks [begin, end) for one or two tiles of rows. True when that was the last of K: `last` has the sums.
template <bool kBoth>
bool run_rows(const Product& p, float* kept, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const std::uint8_t* x = p.x + row / kRows * p.blocks * kTileBytes;
  if (begin == 0)
    zero_sums<kBoth>();
  else
    load_sums<kBoth>(kept);
  add_blocks<kBoth>(x + begin * kTileBytes, x + (p.blocks + begin) * kTileBytes, p.scratch.weights,
                    end - begin);
  store_sums<kBoth>(end < p.blocks ? kept : p.scratch.last);
  return end == p.blocks;
}

/// Which panels run together; the second may be missing.
template <typename Weights>
struct Pair {
  const Weights *first, *second;
  std::int64_t first_panel, second_panel;
};

/// For each i of [first, last): finish(i, row, sums of 32 rows and of the 16 + 16 outputs of pair_of(i)).
template <typename PairOf, typename Finish>
void run_pairs(const Product& p, std::int64_t first, std::int64_t last, const PairOf& pair_of,
               const Finish& finish) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t stretches = stretches_of(p.blocks);
  for (std::int64_t group = first; group < last; group += kPairs) {
    const std::int64_t group_end = group + kPairs < last ? group + kPairs : last;
    for (std::int64_t s = 0; s < stretches; ++s) {
      const std::int64_t begin = p.blocks * s / stretches, end = p.blocks * (s + 1) / stretches;
      for (std::int64_t i = group; i < group_end; ++i) {
        const auto pair = pair_of(i);
        std::uint8_t* tiles = p.scratch.weights;
        pair.first->make_tiles(pair.first_panel, begin, end, tiles);
        if (pair.second != nullptr)
          pair.second->make_tiles(pair.second_panel, begin, end, tiles + (end - begin) * kTileBytes);
        if (i + 1 < group_end) {
          const auto next = pair_of(i + 1);
          next.first->fetch(next.first_panel, begin, end);
          if (next.second != nullptr) next.second->fetch(next.second_panel, begin, end);
        }
        float* kept = p.scratch.sums + (i - group) * pairs_of(p.rows) * kPairFloats;
        for (std::int64_t row = 0; row < p.rows; row += 2 * kRows, kept += kPairFloats) {
          const bool done = row + kRows < p.rows ? run_rows<true>(p, kept, row, begin, end)
                                                 : run_rows<false>(p, kept, row, begin, end);
          if (done) finish(i, row, p.scratch.last);
        }
      }
    }
  }
}

template <typename Weights>
void run(const MatmulArgs& a) {
  const Weights weights(a.weight, a.n, a.k);
  run_pairs(
      product_of(a.x, a.rows, a.k, a.scratch), a.n_begin / 32, (a.n_end + 31) / 32,
      [&](std::int64_t i) -> Pair<Weights> {
        return {&weights, 32 * i + kRows < a.n ? &weights : nullptr, 2 * i, 2 * i + 1};
      },
      [&](std::int64_t i, std::int64_t row, const float* sums) { write_out(a, row, 32 * i, sums); });
}

template <typename Weights>
void run_gated(const GatedMatmulArgs& a) {
  const Weights gate(a.gate, a.n, a.k), up(a.up, a.n, a.k);
  run_pairs(
      product_of(a.x, a.rows, a.k, a.scratch), a.n_begin / kRows, a.n_end / kRows,
      [&](std::int64_t i) -> Pair<Weights> { return {&gate, &up, i, i}; },
      [&](std::int64_t i, std::int64_t row, const float* sums) { write_gated(a, row, kRows * i, sums); });
}

template <typename Weights>
constexpr MatmulPath path(const char* name) {
  return {name, 2 * kRows, prepared_bytes, prepare, kRows, scratch_bytes, run<Weights>, run_gated<Weights>};
}
template <DType kType>
constexpr MatmulPath kPath = path<PanelWeights<kType>>(
    panel_format(kType).bytes ? "amx bf16 tiles, from bytes" : "amx bf16 tiles, from nibbles");
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
}

}  // namespace tw::kernels
