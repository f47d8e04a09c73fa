// Products of both sides in tiles (sides.h): 32 rows of a left side at a time meet right sides that stay in
// the second cache. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_product.h"

namespace tw::kernels {
namespace {

/// Of right sides that all rows meet before the next: they stay in the second cache.
constexpr std::int64_t kRightBytes = 1 << 20;
constexpr std::int64_t kMostPairs = 32;
/// Pairs of panels of so many blocks that are run together.
std::int64_t pairs_at_once(std::int64_t blocks) {
  const std::int64_t pairs = kRightBytes / (2 * blocks * kTileBytes);
  return pairs < 2 ? 2 : pairs > kMostPairs ? kMostPairs : pairs;
}

constexpr std::int64_t kSumBytes = (kMostPairs + 1) * kPairFloats * 4;

/// Right sides of the pairs of panels from number `pair` on and of blocks of K from `begin` on.
struct Right {
  const std::uint8_t* tiles;  ///< [n / 16][k / 32][k pair][n % 16]
  std::int64_t pair, begin, blocks;
};

/// Blocks [begin, end) of K in so many stretches: what is kept of 32 rows' sums between two of them stays in
/// the nearest caches.
struct Depth {
  std::int64_t begin, end, stretches;
};

/// Products of all rows and the columns at hand. `Out` is Chores'.
template <typename Out>
class SidesProduct {
 public:
  SidesProduct(const MatmulArgs& a, Depth depth, const Out& out)
      : a_(a),
        depth_(depth),
        chores_(out, static_cast<float*>(a.scratch)),
        sums_(static_cast<float*>(a.scratch) + kPairFloats) {
    product_.x = static_cast<const std::uint8_t*>(a.x);
    product_.rows = a.rows;
    product_.blocks = blocks_of(a.k);
    product_.pair_bytes = bf16_pair_bytes(product_.blocks);
  }

  /// Pairs [first, last) of panels, 32 rows at a time: a stretch of them in the nearest cache meets all
  /// columns, so that what is written follows in rows, and the processor sees what comes next.
  void run(const Right& right, std::int64_t first, std::int64_t last) {
    right_ = right;
    const auto begin_of = [&](std::int64_t s) {
      return depth_.begin + (depth_.end - depth_.begin) * s / depth_.stretches;
    };
    for (std::int64_t row = 0; row < product_.rows; row += 2 * kRows) {
      for (std::int64_t s = 0; s < depth_.stretches; ++s) {
        if (s + 1 < depth_.stretches)
          ask_for(row, begin_of(s + 1), begin_of(s + 2), last - first);
        else
          ask_for(row + 2 * kRows, begin_of(0), begin_of(1), last - first);
        for (std::int64_t i = first; i < last; ++i)
          run_columns(i, row, begin_of(s), begin_of(s + 1), sums_ + (i - first) * kPairFloats);
      }
    }
  }
  void finish() {
    chores_.finish_all();
    _mm_sfence();  // sums that passed the caches are in order with what says that they are there
  }

 private:
  /// The stretch of left sides that comes next is fetched in equal parts by so many blocks of sums.
  void ask_for(std::int64_t row, std::int64_t begin, std::int64_t end, std::int64_t parts) {
    next_ = product_.x + (row / kRows * product_.blocks + begin) * kTileBytes;
    next_left_ = row < product_.rows ? (end - begin) * kTileBytes : 0;
    next_part_ = (next_left_ / parts + 63) / 64 * 64;
  }
  void fetch_part(std::int64_t steps) {
    const std::int64_t part = next_part_ < next_left_ ? next_part_ : next_left_;
    chores_.fetch(0, next_, next_ + product_.blocks * kTileBytes, part, steps);
    next_ += part, next_left_ -= part;
  }
  void run_columns(std::int64_t i, std::int64_t row, std::int64_t begin, std::int64_t end, float* kept) {
    const std::uint8_t* first =
        right_.tiles + (2 * (i - right_.pair) * right_.blocks + begin - right_.begin) * kTileBytes;
    const bool both = 32 * i + kRows < a_.n;
    const std::uint8_t* const tiles[2] = {first, both ? first + right_.blocks * kTileBytes : first};
    const Block block{i, row, begin == depth_.begin ? nullptr : kept, end == depth_.end ? nullptr : kept,
                      row + kRows < product_.rows};
    fetch_part(end - begin);
    run_block<true>(product_, tiles, block, begin, end, chores_);
  }

  const MatmulArgs& a_;
  Depth depth_;
  Right right_{};
  Activations product_{};
  Chores<Out> chores_;
  float* sums_;
  const std::uint8_t* next_ = nullptr;
  std::int64_t next_left_ = 0, next_part_ = 0;
};

/// All columns of `a`, as many pairs of panels at a time as the second cache holds: those of pairs [first,
/// last) by right_of(first, last).
template <typename RightOf, typename Out>
void run_groups(const MatmulArgs& a, Depth depth, const RightOf& right_of, const Out& out) {
  SidesProduct product(a, depth, out);
  const std::int64_t pairs = pairs_at_once(depth.end - depth.begin), end = (a.n_end + 31) / 32;
  for (std::int64_t first = a.n_begin / 32; first < end; first += pairs) {
    const std::int64_t last = first + pairs < end ? first + pairs : end;
    product.run(right_of(first, last), first, last);
  }
  product.finish();
}

/// Rows of sums as tiles of a left side, past the caches.
class LeftRows {
 public:
  LeftRows(const MatmulArgs& a, void* side, std::int64_t row, std::int64_t i)
      : to_second_((a.n / kPanelBlock - 1) * kRows), rows_(a.rows - row) {
    line_ = static_cast<__m512i*>(side) + (row / kRows * (a.n / kPanelBlock) + i) * kRows;
  }
  void write(std::int64_t t, __m512 left, __m512 right) const {
    if (t < rows_) _mm512_stream_si512(line_ + t + (t < kRows ? 0 : to_second_), paired(left, right));
  }
  static ResidualRows residual() { return {}; }

 private:
  __m512i* line_;
  std::int64_t to_second_, rows_;
};

}  // namespace
}  // namespace tw::kernels
