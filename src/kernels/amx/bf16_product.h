// Products by bf16 tiles: of a pair of panels (32 output rows) a stretch of K is in the nearest cache while
// all rows of a step use it. Everything is internal to the including file.
//
// A tile of weights is one block of a panel: 16 rows of pairs (k, k + 16) for 16 output rows; a tile of
// activations is 16 rows of the step, each block of 32 in the same order of pairs. Sums stay in fp32. The
// bits of a row depend on itself alone: a tile's rows do not mix, and stretches are cut by K alone.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_tiles.h"
#include "kernels/amx/tiles.h"
#include "kernels/args.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kPairFloats = 2 * kRows * 2 * kRows;

inline std::int64_t pairs_of(std::int64_t rows) {
  return (rows + 2 * kRows - 1) / (2 * kRows);
}

/// Whole or not.
inline std::int64_t blocks_of(std::int64_t k) {
  return (k + kPanelBlock - 1) / kPanelBlock;
}

// --- activations

inline std::int64_t prepared_bytes(std::int64_t rows, std::int64_t k) {
  return pairs_of(rows) * 2 * blocks_of(k) * kTileBytes;
}

/// Lanes that exist of 16.
inline __mmask16 lanes(std::int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xFFFF : left <= 0 ? 0 : (1 << left) - 1);
}

/// 32 values, `left` of them there, as bf16 pairs (k, k + 16).
inline __m512i pairs(const float* x, std::int64_t left) {
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes(left), x)));
  const auto high =
      reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes(left - 16), x + 16)));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/// Tile by tile: [row / 16][k / 32][row % 16][32]. The last tile's missing rows are zero.
inline void prepare(const PrepareArgs& a) {
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

/// Sums of 32 rows and 32 columns: tiles 0 and 1 are the first 16 rows, 2 and 3 the others. Takes one of them
/// to `sums` [32][32] and begins it anew.
template <int kTile>
void take_sums(float* sums) {
  tile_store<kTile>(sums + kTile / 2 * 512 + kTile % 2 * 16, 128);
  tile_zero<kTile>();
}

/// 32 by 32 sums over a stretch of K.
struct Block {
  std::int64_t i = 0, row = 0;  ///< pair of panels, first row
  const float* kept = nullptr;  ///< [32][32], sums over the stretches before; null: there are none
  float* keep = nullptr;        ///< where they are kept for the stretch that follows; null: they go out
  bool both = false;            ///< tiles 2 and 3 have rows too
};

/// What is done between the products, a little with each block of K, so that memory is never waited for: the
/// sums of the 32 by 32 before are added to those kept or go out, and what comes next is asked for. Tiles are
/// stored one by one before the next sums begin in them: stored together, or loaded again, they hold up the
/// multiplier. `out(i, row, sums, from, to)` takes rows [from, to) of 32 by 32 sums of pair i that begin at
/// row `row`.
template <typename Out>
class Chores {
 public:
  /// `sums`: room for 32 by 32.
  Chores(const Out& out, float* sums) : out_(out), sums_(sums) {}

  /// From here on tiles get sums of `next`; those of the block before are taken by take() and dealt with in
  /// `steps` steps.
  void begin(const Block& next, std::int64_t steps) {
    finish();
    rows_ = !has_tiles_ ? 0 : in_tiles_.both ? 2 * kRows : kRows;
    written_ = 0;
    before_ = in_tiles_, in_tiles_ = next;
    has_tiles_ = true;
    each_ = steps < 2 ? 2 * kRows : (2 * kRows + steps - 2) / (steps - 1);
  }
  template <int kTile>
  void take() {
    take_sums<kTile>(sums_);
  }
  /// Bytes that are to be in the second cache within `steps` steps; up to four such pieces at a time.
  void fetch(int piece, const std::uint8_t* from, std::int64_t bytes, std::int64_t steps) {
    fetched_[piece] = {from, bytes, (bytes / 64 + steps - 1) / steps};
  }
  void step() {
    if (written_ < rows_) write(written_ + each_ < rows_ ? written_ + each_ : rows_);
    for (Fetched& f : fetched_) {
      for (std::int64_t i = 0; i < f.lines && f.left > 0; ++i, f.left -= 64, f.next += 64)
        _mm_prefetch(reinterpret_cast<const char*>(f.next), _MM_HINT_T1);
    }
  }
  /// The last block too.
  void finish_all() {
    if (!has_tiles_) return;
    begin({}, 1);
    has_tiles_ = false;
    take<0>(), take<1>(), take<2>(), take<3>();
    finish();
  }

 private:
  void finish() {
    if (written_ < rows_) write(rows_);
  }
  void write(std::int64_t to) {
    float* const into = before_.keep != nullptr ? before_.keep : sums_;
    if (before_.kept != nullptr || before_.keep != nullptr) {
      for (std::int64_t at = 32 * written_; at < 32 * to; at += 16) {
        __m512 v = _mm512_load_ps(sums_ + at);
        if (before_.kept != nullptr) v = _mm512_add_ps(v, _mm512_load_ps(before_.kept + at));
        _mm512_store_ps(into + at, v);
      }
    }
    if (before_.keep == nullptr) out_(before_.i, before_.row, sums_, written_, to);
    written_ = to;
  }

  const Out& out_;
  float* sums_;
  Block in_tiles_, before_;
  bool has_tiles_ = false;
  std::int64_t rows_ = 0, written_ = 0, each_ = 0;  ///< of `before_`
  struct Fetched {
    const std::uint8_t* next = nullptr;
    std::int64_t left = 0, lines = 0;  ///< bytes; lines a step
  };
  Fetched fetched_[4];
};

/// A tile of 1 KiB, that stays in the nearest cache or passes it by.
template <int kTile, bool kStays>
void load_block(const std::uint8_t* block) {
  if constexpr (kStays)
    tile_load<kTile>(block, 64);
  else
    tile_load_passing<kTile>(block, 64);
}

/// The products of `count` blocks; x1 is the second tile of rows. What comes from the second cache is loaded
/// two products before it is needed.
template <bool kBoth, bool kXStays, typename Work>
void add_blocks(const std::uint8_t* x0, const std::uint8_t* x1, const std::uint8_t* weights,
                const std::uint8_t* others, std::int64_t count, Work& chores) {
  const std::int64_t end = count * kTileBytes;
  load_block<4, kXStays>(x0);
  load_block<6, !kXStays>(weights);
  for (std::int64_t i = 0; i < end; i += kTileBytes) {
    const std::int64_t next = i + kTileBytes;
    if constexpr (kXStays)
      load_block<7, false>(others + i);
    else if constexpr (kBoth)
      load_block<5, false>(x1 + i);
    if (i == 0) chores.template take<0>();
    tile_dot_bf16<0, 4, 6>();
    if constexpr (!kXStays) {
      load_block<7, true>(others + i);
      if (i == 0) chores.template take<1>();
      tile_dot_bf16<1, 4, 7>();
      if (next < end) load_block<4, false>(x0 + next);
      if (i == 0) chores.template take<2>();
      if constexpr (kBoth) tile_dot_bf16<2, 5, 6>();
      if (next < end) load_block<6, true>(weights + next);
      if (i == 0) chores.template take<3>();
      if constexpr (kBoth) tile_dot_bf16<3, 5, 7>();
    } else {
      if constexpr (kBoth) load_block<5, true>(x1 + i);
      if (i == 0) chores.template take<2>();
      if constexpr (kBoth) tile_dot_bf16<2, 5, 6>();
      if (next < end) load_block<6, false>(weights + next);
      if (i == 0) chores.template take<1>();
      tile_dot_bf16<1, 4, 7>();
      if (next < end) load_block<4, true>(x0 + next);
      if (i == 0) chores.template take<3>();
      if constexpr (kBoth) tile_dot_bf16<3, 5, 7>();
    }
    chores.step();
  }
}

/// Bias and residual, then out: rows [from, to) of 32 by 32 sums, and the columns that exist. `kPassing`:
/// past the caches, where nothing is added.
template <bool kPassing>
void write_out(const MatmulArgs& a, std::int64_t row, std::int64_t n, const float* sums, std::int64_t from,
               std::int64_t to) {
  const std::int64_t rows = a.rows - row < to ? a.rows - row : to;
  for (std::int64_t half = 0; half < 32 && n + half < a.n_end; half += 16) {
    const std::int64_t columns = a.n_end - n - half;
    const __mmask16 mask = lanes(columns);
    const __m512 bias =
        a.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, a.bias + n + half);
    for (std::int64_t t = from; t < rows; ++t) {
      const std::int64_t at = (row + t) * a.out_stride + n + half;
      __m512 y = _mm512_add_ps(_mm512_load_ps(sums + t * 32 + half), bias);
      if (a.residual != nullptr) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, a.residual + at));
      if (kPassing && a.residual == nullptr && columns >= 16 &&
          reinterpret_cast<std::uintptr_t>(a.out + at) % 64 == 0)
        _mm512_stream_ps(a.out + at, y);
      else
        _mm512_mask_storeu_ps(a.out + at, mask, y);
    }
  }
}

/// Prepared activations.
struct Activations {
  const std::uint8_t* x;
  std::int64_t rows, blocks;
};

/// Blocks [begin, end) of K for the rows and columns of `block`.
template <bool kXStays, typename Work>
void run_block(const Activations& p, const std::uint8_t* const weights[2], const Block& block,
               std::int64_t begin, std::int64_t end, Work& chores) {
  const std::uint8_t* x = p.x + (block.row / kRows * p.blocks + begin) * kTileBytes;
  const std::uint8_t* x1 = x + p.blocks * kTileBytes;
  chores.begin(block, end - begin);
  if (block.both)
    add_blocks<true, kXStays>(x, x1, weights[0], weights[1], end - begin, chores);
  else
    add_blocks<false, kXStays>(x, x1, weights[0], weights[1], end - begin, chores);
}

}  // namespace
}  // namespace tw::kernels
