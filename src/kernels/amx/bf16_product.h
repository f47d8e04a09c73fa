// Products by tiles, of bf16 numbers or of bytes: of a pair of panels (32 output rows) a stretch of K is in
// the nearest cache while all rows of a step use it. Everything is internal to the including file.
//
// A tile of bf16 weights is one block of a panel: 16 rows of pairs (k, k + 16) for 16 output rows; a tile of
// activations is 16 rows of the step, each block of 32 in the same order of pairs. Sums are fp32. Tiles of
// bytes have 64 columns of K, and sums that are int32 until they leave (kBytes). The bits of a row depend on
// itself alone: a tile's rows do not mix, and stretches are cut by K alone.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_tiles.h"
#include "kernels/amx/int8_tiles.h"
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

/// 32 numbers as bf16 pairs (k, k + 16).
inline __m512i paired(__m512 first, __m512 second) {
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(first));
  const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(second));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/// 32 numbers, `left` of them there, as bf16 pairs (k, k + 16).
inline __m512i pairs(const float* x, std::int64_t left) {
  return paired(_mm512_maskz_loadu_ps(lanes(left), x), _mm512_maskz_loadu_ps(lanes(left - 16), x + 16));
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
  const float *row_scales = nullptr, *column_scales = nullptr;  ///< [32] each, of sums of bytes
};

/// Rows of sums that are kept for the next stretch.
struct KeptRows {
  float* keep;  ///< [32][32]
  void write(std::int64_t t, __m512 left, __m512 right) const {
    _mm512_store_ps(keep + t * 32, left);
    _mm512_store_ps(keep + t * 32 + 16, right);
  }
};

/// 16 sums of bytes, int32, as numbers.
inline __m512 of_bytes(const float* sums, __m512 row_scale, const float* column_scales) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)),
                       _mm512_mul_ps(row_scale, _mm512_load_ps(column_scales)));
}

/// The sums of the 32 by 32 before, taken from the tiles: each row is added to that of the stretches before
/// and goes to `out`, of KeptRows' shape.
template <bool kBytes, bool kKept, typename Out>
struct RowsBefore {
  const float *taken, *kept;  ///< [32][32]
  Out out;
  const float *row_scales, *column_scales;
  void write_two(std::int64_t t) const {
    for (std::int64_t i = t; i < t + 2; ++i) {
      __m512 left, right;
      if constexpr (kBytes) {
        const __m512 scale = _mm512_set1_ps(row_scales[i]);
        left = of_bytes(taken + i * 32, scale, column_scales);
        right = of_bytes(taken + i * 32 + 16, scale, column_scales + 16);
      } else {
        left = _mm512_load_ps(taken + i * 32), right = _mm512_load_ps(taken + i * 32 + 16);
      }
      if constexpr (kKept) {
        left = _mm512_add_ps(left, _mm512_load_ps(kept + i * 32));
        right = _mm512_add_ps(right, _mm512_load_ps(kept + i * 32 + 16));
      }
      out.write(i, left, right);
    }
  }
};
struct NothingBefore {
  void write_two(std::int64_t) const {}
};

/// Two places of memory that are to be in the second cache soon, `lines` lines of each with every block of K.
struct Fetch {
  const std::uint8_t *first = nullptr, *second = nullptr;
  std::int64_t lines = 0, left = 0;  ///< left: bytes of each
  void step() {
    for (std::int64_t i = 0; i < lines; ++i, first += 64, second += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(first), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(second), _MM_HINT_T1);
    }
  }
};

/// Rows of 32 columns that are added to the sums at hand once these are whole: asked for meanwhile.
struct ResidualRows {
  const float* first = nullptr;  ///< null: there are none
  std::int64_t stride = 0, rows = 0;
  void fetch_two(std::int64_t t) const {
    if (first == nullptr) return;
    for (std::int64_t i = t; i < t + 2 && i < rows; ++i) {
      const auto* row = reinterpret_cast<const char*>(first + i * stride);
      _mm_prefetch(row, _MM_HINT_T0);
      _mm_prefetch(row + 64, _MM_HINT_T0);
    }
  }
};

/// A tile of 1 KiB, that stays in the nearest cache or passes it by.
template <int kTile, bool kStays>
void load_block(const std::uint8_t* block) {
  if constexpr (kStays)
    tile_load<kTile>(block, 64);
  else
    tile_load_passing<kTile>(block, 64);
}

/// kC += kA * kB, of bytes or of bf16 numbers.
template <bool kBytes, int kC, int kA, int kB>
void tile_dot() {
  if constexpr (kBytes)
    tile_dot_ss<kC, kA, kB>();
  else
    tile_dot_bf16<kC, kA, kB>();
}

/// What the products of a block need.
struct Sides {
  const std::uint8_t *x0, *x1;  ///< two tiles of rows
  const std::uint8_t *weights, *others;
  std::int64_t count;  ///< blocks of K
};

/// The products of `count` blocks. What comes from the second cache is loaded two products before it is
/// needed. Between the products, a little with each block of K so that memory is never waited for: the sums
/// of the 32 by 32 before are dealt with, and what comes next is asked for. Tiles are stored one by one
/// before the next sums begin in them: stored together, or loaded again, they hold up the multiplier.
template <bool kBytes, bool kBoth, bool kXStays, typename Before>
__attribute__((noinline)) void add_blocks(const Sides& sides, float* taken, const Before& sums_before,
                                          const ResidualRows& residual_rows, Fetch fetches[2]) {
  const Before before = sums_before;  // copies stay in registers
  const ResidualRows residual = residual_rows;
  Fetch weights_ahead = fetches[0], rows_ahead = fetches[1];
  const std::uint8_t *const x0 = sides.x0, *const x1 = sides.x1;
  const std::uint8_t *const weights = sides.weights, *const others = sides.others;
  const std::int64_t end = sides.count * kTileBytes;
  const bool fast = sides.count < kRows;
  std::int64_t t = 0;
  load_block<4, kXStays>(x0);
  load_block<6, !kXStays>(weights);
  for (std::int64_t i = 0; i < end; i += kTileBytes) {
    const std::int64_t next = i + kTileBytes;
    if constexpr (kXStays)
      load_block<7, false>(others + i);
    else if constexpr (kBoth)
      load_block<5, false>(x1 + i);
    if (i == 0) take_sums<0>(taken);
    tile_dot<kBytes, 0, 4, 6>();
    if constexpr (!kXStays) {
      load_block<7, true>(others + i);
      if (i == 0) take_sums<1>(taken);
      tile_dot<kBytes, 1, 4, 7>();
      if (next < end) load_block<4, false>(x0 + next);
      if (i == 0) take_sums<2>(taken);
      if constexpr (kBoth) tile_dot<kBytes, 2, 5, 6>();
      if (next < end) load_block<6, true>(weights + next);
      if (i == 0) take_sums<3>(taken);
      if constexpr (kBoth) tile_dot<kBytes, 3, 5, 7>();
    } else {
      if constexpr (kBoth) load_block<5, true>(x1 + i);
      if (i == 0) take_sums<2>(taken);
      if constexpr (kBoth) tile_dot<kBytes, 2, 5, 6>();
      if (next < end) load_block<6, false>(weights + next);
      if (i == 0) take_sums<1>(taken);
      tile_dot<kBytes, 1, 4, 7>();
      if (next < end) load_block<4, true>(x0 + next);
      if (i == 0) take_sums<3>(taken);
      if constexpr (kBoth) tile_dot<kBytes, 3, 5, 7>();
    }
    if (t < 2 * kRows) {
      before.write_two(t);
      residual.fetch_two(t);
      t += 2;
      if (fast && t < 2 * kRows) {
        before.write_two(t);
        residual.fetch_two(t);
        t += 2;
      }
    }
    weights_ahead.step();
    rows_ahead.step();
  }
  for (; t < 2 * kRows; t += 2) before.write_two(t);
  fetches[0] = weights_ahead, fetches[1] = rows_ahead;
}

/// Products of one 32 by 32 after another, whose sums are kept or go to `out(i, row)`, for pair i and the
/// rows from `row`: its write is KeptRows', and residual() says what is worth asking for. `kBytes`: tiles are
/// of bytes, and each block has scales.
template <typename Out, bool kBytes = false>
class Chores {
 public:
  /// `sums`: room for 32 by 32.
  Chores(const Out& out, float* sums) : out_(out), sums_(sums) {}

  /// Bytes of each of two places that are to be in the second cache within `steps` blocks of K; `piece` 0
  /// or 1.
  void fetch(int piece, const std::uint8_t* first, const std::uint8_t* second, std::int64_t bytes,
             std::int64_t steps) {
    fetches_[piece] = {first, second, (bytes / 64 + steps - 1) / steps, bytes};
  }

  /// From here on tiles get the sums of `next`; those of the block before are dealt with.
  template <bool kXStays>
  void run(const Block& next, const Sides& sides) {
    const ResidualRows residual = next.keep == nullptr ? out_(next.i, next.row).residual() : ResidualRows{};
    if (next.both)
      run_on<true, kXStays>(sides, residual);
    else
      run_on<false, kXStays>(sides, residual);
    for (Fetch& f : fetches_) {
      f.left -= f.lines * sides.count * 64;
      if (f.left <= 0) f.lines = 0;
    }
    in_tiles_ = next;
    has_tiles_ = true;
  }
  /// The last block too.
  void finish_all() {
    if (!has_tiles_) return;
    take_sums<0>(sums_), take_sums<1>(sums_), take_sums<2>(sums_), take_sums<3>(sums_);
    with_before([&](const auto& before) {
      for (std::int64_t t = 0; t < 2 * kRows; t += 2) before.write_two(t);
    });
    has_tiles_ = false;
  }

 private:
  template <bool kBoth, bool kXStays>
  void run_on(const Sides& sides, const ResidualRows& residual) {
    with_before([&](const auto& before) {
      add_blocks<kBytes, kBoth, kXStays>(sides, sums_, before, residual, fetches_);
    });
  }
  template <typename F>
  void with_before(const F& f) {
    using Rows = decltype(out_(0, 0));
    const Block& b = in_tiles_;
    if (!has_tiles_)
      f(NothingBefore{});
    else if (b.keep != nullptr && b.kept != nullptr)
      f(RowsBefore<kBytes, true, KeptRows>{sums_, b.kept, {b.keep}, b.row_scales, b.column_scales});
    else if (b.keep != nullptr)
      f(RowsBefore<kBytes, false, KeptRows>{sums_, nullptr, {b.keep}, b.row_scales, b.column_scales});
    else if (b.kept != nullptr)
      f(RowsBefore<kBytes, true, Rows>{sums_, b.kept, out_(b.i, b.row), b.row_scales, b.column_scales});
    else
      f(RowsBefore<kBytes, false, Rows>{sums_, nullptr, out_(b.i, b.row), b.row_scales, b.column_scales});
  }

  const Out& out_;
  float* sums_;
  Block in_tiles_;
  bool has_tiles_ = false;
  Fetch fetches_[2];
};

/// Rows of `out`: bias and residual are added to the columns and rows that exist. Past the caches, if that is
/// asked for, there is no residual and lines are whole.
class OutRows {
 public:
  OutRows(const MatmulArgs& a, std::int64_t row, std::int64_t n, bool passing)
      : out_(a.out + row * a.out_stride + n),
        residual_(a.residual == nullptr ? nullptr : a.residual + row * a.out_stride + n),
        stride_(a.out_stride),
        rows_(a.rows - row),
        left_(lanes(a.n_end - n)),
        right_(lanes(a.n_end - n - kRows)),
        left_bias_(_mm512_setzero_ps()),
        right_bias_(_mm512_setzero_ps()) {
    if (a.bias != nullptr) {
      left_bias_ = _mm512_maskz_loadu_ps(left_, a.bias + n);
      right_bias_ = _mm512_maskz_loadu_ps(right_, a.bias + n + kRows);
    }
    passing_ = passing && residual_ == nullptr && right_ == 0xFFFF && stride_ % kRows == 0 &&
               reinterpret_cast<std::uintptr_t>(out_) % 64 == 0;
  }
  void write(std::int64_t t, __m512 left, __m512 right) const {
    if (t >= rows_) return;
    float* out = out_ + t * stride_;
    left = _mm512_add_ps(left, left_bias_), right = _mm512_add_ps(right, right_bias_);
    if (passing_) {
      _mm512_stream_ps(out, left);
      _mm512_stream_ps(out + kRows, right);
      return;
    }
    if (residual_ != nullptr) {
      left = _mm512_add_ps(left, _mm512_maskz_loadu_ps(left_, residual_ + t * stride_));
      right = _mm512_add_ps(right, _mm512_maskz_loadu_ps(right_, residual_ + t * stride_ + kRows));
    }
    _mm512_mask_storeu_ps(out, left_, left);
    _mm512_mask_storeu_ps(out + kRows, right_, right);
  }
  ResidualRows residual() const { return {residual_, stride_, rows_}; }

 private:
  float* out_;
  const float* residual_;
  std::int64_t stride_, rows_;
  __mmask16 left_, right_;
  bool passing_;
  __m512 left_bias_, right_bias_;
};

/// Prepared activations: 32 rows are two rows of tiles, and what may lie behind them, pair_bytes in all.
struct Activations {
  const std::uint8_t* x;
  std::int64_t rows, blocks, pair_bytes;
  const std::uint8_t* tiles(std::int64_t row, std::int64_t block) const {
    return x + row / (2 * kRows) * pair_bytes + block * kTileBytes;
  }
};
inline std::int64_t bf16_pair_bytes(std::int64_t blocks) {
  return 2 * blocks * kTileBytes;
}

/// Blocks [begin, end) of K for the rows and columns of `block`.
template <bool kXStays, typename Work>
void run_block(const Activations& p, const std::uint8_t* const weights[2], const Block& block,
               std::int64_t begin, std::int64_t end, Work& chores) {
  const std::uint8_t* x = p.tiles(block.row, begin);
  chores.template run<kXStays>(block, {x, x + p.blocks * kTileBytes, weights[0], weights[1], end - begin});
}

}  // namespace
}  // namespace tw::kernels
