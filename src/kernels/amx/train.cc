// Weights that are learnt, as bf16 tiles: both sides of each product (sides.h) are made once and then
// multiplied as they lie.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/sides.h"

namespace tw::kernels {
namespace {

std::int64_t right_bytes(DType, std::int64_t n, std::int64_t k) {
  return tiles_of(n) * blocks_of(k) * kTileBytes;
}

/// Of right sides that all rows meet before the next: they stay in the second cache.
constexpr std::int64_t kRightBytes = 1 << 20;
/// Most blocks of a stretch: 40 KiB of left sides.
constexpr std::int64_t kLeftStretch = 20;

/// Pairs of panels of a K that are run together.
std::int64_t pairs_at_once(std::int64_t blocks) {
  const std::int64_t pairs = kRightBytes / (2 * blocks * kTileBytes);
  return pairs < 2 ? 2 : pairs > 32 ? 32 : pairs;
}

std::int64_t side_scratch(std::int64_t, std::int64_t k) {
  return (pairs_at_once(blocks_of(k)) + 2) * kPairFloats * 4;
}

/// Products of all rows and the columns at hand. `Out` is Chores'.
template <typename Out>
class SidesProduct {
 public:
  SidesProduct(const MatmulArgs& a, const Out& out)
      : a_(a),
        right_(static_cast<const std::uint8_t*>(a.weight)),
        chores_(out),
        last_(static_cast<float*>(a.scratch)),
        sums_(last_ + 2 * kPairFloats) {
    product_.x = static_cast<const std::uint8_t*>(a.x);
    product_.rows = a.rows;
    product_.blocks = blocks_of(a.k);
  }

  /// Pairs [first, last) of panels, 32 rows at a time: a stretch of them in the nearest cache meets all
  /// columns, so that what is written follows in rows, and the processor sees what comes next.
  void run(std::int64_t first, std::int64_t last) {
    const std::int64_t blocks = product_.blocks, stretches = (blocks + kLeftStretch - 1) / kLeftStretch;
    for (std::int64_t row = 0; row < product_.rows; row += 2 * kRows) {
      for (std::int64_t s = 0; s < stretches; ++s) {
        const std::int64_t begin = blocks * s / stretches, end = blocks * (s + 1) / stretches;
        for (std::int64_t i = first; i < last; ++i)
          run_block(i, row, begin, end, sums_ + (i - first) * kPairFloats);
      }
    }
  }
  void finish() {
    chores_.finish_writing();
    _mm_sfence();  // sums that passed the caches are in order with what says that they are there
  }

 private:
  void run_block(std::int64_t i, std::int64_t row, std::int64_t begin, std::int64_t end, float* kept) {
    const std::uint8_t* first = right_ + (2 * i * product_.blocks + begin) * kTileBytes;
    const bool both = 32 * i + kRows < a_.n, done = end == product_.blocks;
    const std::uint8_t* const tiles[2] = {first, both ? first + product_.blocks * kTileBytes : first};
    float* const to = done ? last_ + turn_ * kPairFloats : kept;
    if (row + kRows < product_.rows)
      run_rows<true, true>(product_, tiles, kept, to, row, begin, end, chores_);
    else
      run_rows<false, true>(product_, tiles, kept, to, row, begin, end, chores_);
    if (!done) return;
    chores_.finish_writing();
    chores_.write(i, row, to, end - begin);
    turn_ ^= 1;
  }

  const MatmulArgs& a_;
  const std::uint8_t* right_;  ///< [n / 16][k / 32][k pair][n % 16]
  Activations product_{};
  Chores<Out> chores_;
  float *last_, *sums_;
  int turn_ = 0;
};

void run_sides(const MatmulArgs& a) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const auto out = [&](std::int64_t i, std::int64_t row, const float* sums, std::int64_t from,
                       std::int64_t to) { write_out<true>(a, row, 32 * i, sums, from, to); };
  SidesProduct product(a, out);
  const std::int64_t pairs = pairs_at_once(blocks_of(a.k)), end = (a.n_end + 31) / 32;
  for (std::int64_t first = a.n_begin / 32; first < end; first += pairs)
    product.run(first, first + pairs < end ? first + pairs : end);
  product.finish();
}

constexpr MatmulPath kSides = {
    "amx bf16 tiles, both sides", 2 * kRows, prepared_bytes, prepare, kRows, side_scratch, run_sides};

constexpr TrainMatmul kTrain = {{kRows, right_bytes, nullptr, kSides}, make_side<true>, make_side<false>};

}  // namespace

void amx_train_slots(KernelSlots& slots) {
  slots.train_matmul = &kTrain;
}

}  // namespace tw::kernels
