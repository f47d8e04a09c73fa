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

/// What is done between the products, a little with each block, so that memory is never waited for: rows of
/// the sums before are written out, and what comes next is asked for. `out(i, row, sums, from, to)`
/// takes rows [from, to) of 32 by 32 sums of pair i that begin at row `row`.
template <typename Out>
class Chores {
 public:
  explicit Chores(const Out& out) : out_(out) {}

  /// 32 by 32 sums of pair i that are to go out from row `row`, within `steps` steps.
  void write(std::int64_t i, std::int64_t row, const float* sums, std::int64_t steps) {
    pair_ = i, row_ = row, sums_ = sums, written_ = 0;
    each_ = (2 * kRows + steps - 1) / steps;
  }
  /// Bytes that are to be in the second cache within `steps` steps, for each of two panels.
  void fetch(const std::uint8_t* first, const std::uint8_t* second, std::int64_t bytes, std::int64_t steps) {
    fetched_[0] = first, fetched_[1] = second;
    left_ = bytes;
    lines_ = (bytes / 64 + steps - 1) / steps;
  }
  void step() {
    if (written_ < 2 * kRows) {
      const std::int64_t to = written_ + each_ < 2 * kRows ? written_ + each_ : 2 * kRows;
      out_(pair_, row_, sums_, written_, to);
      written_ = to;
    }
    for (std::int64_t i = 0; i < lines_ && left_ > 0; ++i, left_ -= 64) {
      for (const std::uint8_t*& line : fetched_) {
        if (line == nullptr) continue;
        _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
        line += 64;
      }
    }
  }
  void finish_writing() {
    if (written_ < 2 * kRows) out_(pair_, row_, sums_, written_, 2 * kRows);
    written_ = 2 * kRows;
  }

 private:
  const Out& out_;
  std::int64_t pair_ = 0, row_ = 0, written_ = 2 * kRows, each_ = 0;
  const float* sums_ = nullptr;
  const std::uint8_t* fetched_[2] = {};
  std::int64_t left_ = 0, lines_ = 0;
};

/// A tile of 1 KiB, that stays in the nearest cache or passes it by.
template <int kTile, bool kStays>
void load_block(const std::uint8_t* block) {
  if constexpr (kStays)
    tile_load<kTile>(block, 64);
  else
    tile_load_passing<kTile>(block, 64);
}

/// Adds `count` blocks; x1 is the second tile of rows. Loads between the products keep the multiplier busier
/// than loads before them (by 8 % from the second cache).
template <bool kBoth, bool kXStays, typename Work>
void add_blocks(const std::uint8_t* x0, const std::uint8_t* x1, const std::uint8_t* weights,
                const std::uint8_t* others, std::int64_t count, Work& chores) {
  for (std::int64_t i = 0; i < count * kTileBytes; i += kTileBytes) {
    load_block<6, !kXStays>(weights + i);
    load_block<4, kXStays>(x0 + i);
    tile_dot_bf16<0, 4, 6>();
    load_block<7, !kXStays>(others + i);
    tile_dot_bf16<1, 4, 7>();
    if constexpr (kBoth) {
      load_block<5, kXStays>(x1 + i);
      tile_dot_bf16<3, 5, 7>();
      tile_dot_bf16<2, 5, 6>();
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

/// Blocks [begin, end) for one or two tiles of rows, added to what was `kept` (null: nothing), into `sums`.
template <bool kBoth, bool kXStays, typename Work>
void run_rows(const Activations& p, const std::uint8_t* const weights[2], const float* kept, float* sums,
              std::int64_t row, std::int64_t begin, std::int64_t end, Work& chores) {
  const std::uint8_t* x = p.x + row / kRows * p.blocks * kTileBytes;
  if (kept == nullptr)
    zero_sums<kBoth>();
  else
    load_sums<kBoth>(kept);
  add_blocks<kBoth, kXStays>(x + begin * kTileBytes, x + (p.blocks + begin) * kTileBytes, weights[0],
                             weights[1], end - begin, chores);
  store_sums<kBoth>(sums);
}

}  // namespace
}  // namespace tw::kernels
