// Weights that are learnt, as bf16 tiles: both sides of each product (sides.h) are made once and then
// multiplied as they lie.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/fused_sides.h"
#include "kernels/amx/sides.h"
#include "kernels/amx/sides_product.h"

namespace tw::kernels {
namespace {

std::int64_t right_bytes(DType, std::int64_t n, std::int64_t k) {
  return tiles_of(n) * blocks_of(k) * kTileBytes;
}

/// Most blocks of a stretch: 40 KiB of left sides.
constexpr std::int64_t kLeftStretch = 20;
/// Most blocks of K that rows meet at a time: with more, too few columns fit the second cache for the left
/// sides that each group of them fetches from the third.
constexpr std::int64_t kMostBlocks = 32;

/// Sums that are kept, and right sides that are turned.
std::int64_t side_scratch(std::int64_t, std::int64_t) {
  return kSumBytes + kRightBytes;
}
/// The same of a product in one part.
std::int64_t rounded_scratch(std::int64_t k) {
  const std::int64_t blocks = blocks_of(k), bytes = pairs_at_once(blocks) * 2 * blocks * kTileBytes;
  return kSumBytes + (bytes > kRightBytes ? bytes : kRightBytes);
}

/// Left sides that lie as they are, tile after tile and past the caches: nobody reads them soon.
void prepare_left(const PrepareArgs& a) {
  const std::int64_t blocks = blocks_of(a.k);
  for (std::int64_t first = a.row_begin; first < a.row_end; first += kRows) {
    auto* out = static_cast<std::uint8_t*>(a.prepared) + first / kRows * blocks * kTileBytes;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t at = block * kPanelBlock;
      for (std::int64_t row = first; row < first + kRows; ++row, out += 64) {
        __m512i v = _mm512_setzero_si512();
        if (row < a.row_end) {
          const float* x = a.x + row * a.x_stride + at;
          ask_ahead(x), ask_ahead(x + kRows);
          v = pairs(x, a.k - at);
        }
        _mm512_stream_si512(reinterpret_cast<__m512i*>(out), v);
      }
    }
  }
  _mm_sfence();
}

/// A matrix [K, N] whose right side is turned into that of its transpose.
struct TurnedSide {
  const std::uint8_t* tiles;  ///< [k / 16][n / 32][n pair][k % 16]
  std::int64_t rows, across;  ///< tiles of K, blocks of N

  /// Rows of block k of K and columns of block n of N: the tiles of its first 16 columns and of the others.
  void turn(std::int64_t k, std::int64_t n, std::uint8_t* first, std::uint8_t* second) const {
    __m512i upper[kRows], lower[kRows];  // a row of 16 pairs of columns (n, n + 16), of rows of K
    load(2 * k, n, upper);
    load(2 * k + 1, n, lower);
    const __m512i low = _mm512_set1_epi32(0xFFFF);
    for (std::int64_t i = 0; i < kRows; ++i) {
      const __m512i left = _mm512_or_si512(_mm512_and_si512(upper[i], low), _mm512_slli_epi32(lower[i], 16));
      const __m512i right =
          _mm512_or_si512(_mm512_srli_epi32(upper[i], 16), _mm512_andnot_si512(low, lower[i]));
      _mm512_store_si512(first + i * 64, left);
      _mm512_store_si512(second + i * 64, right);
    }
  }

 private:
  void load(std::int64_t row, std::int64_t n, __m512i* v) const {
    const std::uint8_t* tile = tiles + (row * across + n) * kTileBytes;
    for (std::int64_t i = 0; i < kRows; ++i)
      v[i] = row < rows ? _mm512_load_si512(tile + i * 64) : _mm512_setzero_si512();
    transpose(v);
  }
};

Depth depth_of(std::int64_t begin, std::int64_t end) {
  return {begin, end, (end - begin + kLeftStretch - 1) / kLeftStretch};
}

/// By W's right side, or with `turned` by what its transpose's becomes in scratch.
template <typename Out>
void run_weight(const MatmulArgs& a, bool turned, Depth depth, const Out& out) {
  const auto* const weight = static_cast<const std::uint8_t*>(a.weight);
  if (!turned)
    return run_groups(
        a, depth, [&](std::int64_t, std::int64_t) { return Right{weight, 0, 0, blocks_of(a.k)}; }, out);
  const TurnedSide from{weight, tiles_of(a.k), blocks_of(a.n)};
  auto* const to = static_cast<std::uint8_t*>(a.scratch) + kSumBytes;
  const std::int64_t blocks = depth.end - depth.begin, panel = blocks * kTileBytes;
  const auto turn = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = depth.begin; k < depth.end; ++k) {
      for (std::int64_t i = first; i < last; ++i) {
        std::uint8_t* const tile = to + 2 * (i - first) * panel + (k - depth.begin) * kTileBytes;
        from.turn(k, i, tile, tile + panel);
      }
    }
    return Right{to, first, depth.begin, blocks};
  };
  run_groups(a, depth, turn, out);
}

/// K in parts: the first one with bias and residual, the others onto what is there.
void run_parts(const MatmulArgs& whole, bool turned) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t blocks = blocks_of(whole.k), parts = (blocks + kMostBlocks - 1) / kMostBlocks;
  MatmulArgs a = whole;
  for (std::int64_t part = 0; part < parts; ++part) {
    if (part > 0) a.bias = nullptr, a.residual = a.out;
    run_weight(a, turned, depth_of(blocks * part / parts, blocks * (part + 1) / parts),
               [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, parts == 1); });
  }
}
void run_sides(const MatmulArgs& a) {
  run_parts(a, false);
}
void run_turned(const MatmulArgs& a) {
  run_parts(a, true);
}
void run_part(const MatmulArgs& a, std::int64_t k_begin, std::int64_t k_end) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t begin = k_begin / kPanelBlock, end = blocks_of(k_end);
  const Right right{static_cast<const std::uint8_t*>(a.weight), 0, begin, end - begin};
  const bool is_whole = begin == 0 && end == blocks_of(a.k);  // nothing is added later
  run_groups(
      a, depth_of(begin, end), [&](std::int64_t, std::int64_t) { return right; },
      [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, is_whole); });
}

/// In one part, however deep: sums are rounded once.
void run_rounded(const MatmulArgs& a, bool turned, void* side) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  run_weight(a, turned, depth_of(0, blocks_of(a.k)),
             [&](std::int64_t i, std::int64_t row) { return LeftRows(a, side, row, i); });
}

constexpr MatmulPath kSides = {"amx bf16 tiles, both sides",
                               2 * kRows,
                               prepared_bytes,
                               prepare_left,
                               kRows,
                               side_scratch,
                               run_sides,
                               nullptr,
                               true};

constexpr TrainMatmul kTrain = {{kRows, right_bytes, nullptr, kSides},
                                make_side<true, true>,
                                make_side<false, true>,
                                make_lefts,
                                run_part,
                                run_turned,
                                run_rounded,
                                rounded_scratch,
                                rounded_loss,
                                make_logit_lefts,
                                make_gated_left,
                                make_gated_lefts};

}  // namespace

void amx_train_slots(KernelSlots& slots) {
  slots.train_matmul = &kTrain;
}

}  // namespace tw::kernels
