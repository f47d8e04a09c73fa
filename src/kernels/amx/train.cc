// Weights that are learnt, as bf16 tiles: both sides of each product (sides.h) are made once and then
// multiplied as they lie.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/fused_sides.h"
#include "kernels/amx/sides.h"

namespace tw::kernels {
namespace {

std::int64_t right_bytes(DType, std::int64_t n, std::int64_t k) {
  return tiles_of(n) * blocks_of(k) * kTileBytes;
}

/// Of right sides that all rows meet before the next: they stay in the second cache.
constexpr std::int64_t kRightBytes = 1 << 20;
constexpr std::int64_t kMostPairs = 32;
/// Most blocks of a stretch: 40 KiB of left sides.
constexpr std::int64_t kLeftStretch = 20;
/// Most blocks of K that rows meet at a time: with more, too few columns fit the second cache for the left
/// sides that each group of them fetches from the third.
constexpr std::int64_t kMostBlocks = 32;

/// Pairs of panels of so many blocks that are run together.
std::int64_t pairs_at_once(std::int64_t blocks) {
  const std::int64_t pairs = kRightBytes / (2 * blocks * kTileBytes);
  return pairs < 2 ? 2 : pairs > kMostPairs ? kMostPairs : pairs;
}

constexpr std::int64_t kSumBytes = (kMostPairs + 1) * kPairFloats * 4;

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

/// What MatmulArgs::weight is: the right side, that of W's transpose, or of the blocks at hand alone.
enum class Weight { kWhole, kTurned, kPart };

/// Blocks [begin, end) of K of the products of all rows and the columns at hand. `Out` is Chores'.
template <typename Out>
class SidesProduct {
 public:
  SidesProduct(const MatmulArgs& a, Weight weight, std::int64_t begin, std::int64_t end, const Out& out)
      : a_(a),
        turned_(weight == Weight::kTurned),
        right_{static_cast<const std::uint8_t*>(a.weight), 0, 0, blocks_of(a.k)},
        begin_(begin),
        end_(end),
        chores_(out, static_cast<float*>(a.scratch)),
        sums_(static_cast<float*>(a.scratch) + kPairFloats) {
    product_.x = static_cast<const std::uint8_t*>(a.x);
    product_.rows = a.rows;
    product_.blocks = blocks_of(a.k);
    if (weight == Weight::kPart) right_.begin = begin, right_.blocks = end - begin;
  }

  /// Pairs [first, last) of panels, 32 rows at a time: a stretch of them in the nearest cache meets all
  /// columns, so that what is written follows in rows, and the processor sees what comes next.
  void run(std::int64_t first, std::int64_t last) {
    if (turned_) turn(first, last);
    const std::int64_t stretches = (end_ - begin_ + kLeftStretch - 1) / kLeftStretch;
    const auto begin_of = [&](std::int64_t s) { return begin_ + (end_ - begin_) * s / stretches; };
    for (std::int64_t row = 0; row < product_.rows; row += 2 * kRows) {
      for (std::int64_t s = 0; s < stretches; ++s) {
        if (s + 1 < stretches)
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
  /// Right sides of the pairs from number `pair` and of blocks from `begin` on.
  struct Right {
    const std::uint8_t* tiles;  ///< [n / 16][k / 32][k pair][n % 16]
    std::int64_t pair, begin, blocks;
  };

  void turn(std::int64_t first, std::int64_t last) {
    const TurnedSide from{static_cast<const std::uint8_t*>(a_.weight), tiles_of(a_.k), blocks_of(a_.n)};
    auto* const to = static_cast<std::uint8_t*>(a_.scratch) + kSumBytes;
    const std::int64_t panel = (end_ - begin_) * kTileBytes;
    for (std::int64_t k = begin_; k < end_; ++k) {
      for (std::int64_t i = first; i < last; ++i) {
        std::uint8_t* const tile = to + 2 * (i - first) * panel + (k - begin_) * kTileBytes;
        from.turn(k, i, tile, tile + panel);
      }
    }
    right_ = {to, first, begin_, end_ - begin_};
  }

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
    const Block block{i, row, begin == begin_ ? nullptr : kept, end == end_ ? nullptr : kept,
                      row + kRows < product_.rows};
    fetch_part(end - begin);
    run_block<true>(product_, tiles, block, begin, end, chores_);
  }

  const MatmulArgs& a_;
  bool turned_;
  Right right_;
  std::int64_t begin_, end_;
  Activations product_{};
  Chores<Out> chores_;
  float* sums_;
  const std::uint8_t* next_ = nullptr;
  std::int64_t next_left_ = 0, next_part_ = 0;
};

/// Pairs of panels as many at a time as the second cache holds, of blocks [begin, end) of K.
template <typename Out>
void run_pairs(const MatmulArgs& a, Weight weight, std::int64_t begin, std::int64_t end, const Out& out) {
  SidesProduct product(a, weight, begin, end, out);
  const std::int64_t pairs = pairs_at_once(end - begin), last = (a.n_end + 31) / 32;
  for (std::int64_t first = a.n_begin / 32; first < last; first += pairs)
    product.run(first, first + pairs < last ? first + pairs : last);
  product.finish();
}

/// Blocks [begin, end) of K: the first ones with bias and residual, the others onto what is there.
void run_blocks(const MatmulArgs& whole, Weight weight, std::int64_t begin, std::int64_t end) {
  MatmulArgs a = whole;
  if (begin > 0) a.bias = nullptr, a.residual = a.out;
  const bool is_whole = begin == 0 && end == blocks_of(a.k);  // nothing is added later
  run_pairs(a, weight, begin, end,
            [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, is_whole); });
}

void run_parts(const MatmulArgs& a, Weight weight) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t blocks = blocks_of(a.k), parts = (blocks + kMostBlocks - 1) / kMostBlocks;
  for (std::int64_t part = 0; part < parts; ++part)
    run_blocks(a, weight, blocks * part / parts, blocks * (part + 1) / parts);
}
void run_sides(const MatmulArgs& a) {
  run_parts(a, Weight::kWhole);
}
void run_turned(const MatmulArgs& a) {
  run_parts(a, Weight::kTurned);
}
void run_part(const MatmulArgs& a, std::int64_t k_begin, std::int64_t k_end) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const std::int64_t begin = k_begin / kPanelBlock, end = blocks_of(k_end);
  run_pairs(a, Weight::kPart, begin, end, [&](std::int64_t i, std::int64_t row) {
    return OutRows(a, row, 32 * i, begin == 0 && end == blocks_of(a.k));
  });
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

/// In one part, however deep: sums are rounded once.
void run_rounded(const MatmulArgs& a, bool turned, void* side) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  run_pairs(a, turned ? Weight::kTurned : Weight::kWhole, 0, blocks_of(a.k),
            [&](std::int64_t i, std::int64_t row) { return LeftRows(a, side, row, i); });
}

constexpr MatmulPath kSides = {
    "amx bf16 tiles, both sides", 2 * kRows, prepared_bytes, prepare_left, kRows, side_scratch, run_sides};

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
