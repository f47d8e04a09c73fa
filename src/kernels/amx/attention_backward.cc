// Gradients of attention by bf16 tiles, block by block (arXiv 2205.14135). Scores are made transposed, a row
// a key and a lane a query: then weights and their gradients are left sides of the products for values and
// keys as they are, and two rows put together a right side of the one for queries, whose gradient is kept
// transposed until the end. No block is ever transposed on the way.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/power.h"
#include "kernels/amx/sides.h"
#include "kernels/args.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kKeys = kBackwardRows, kQueries = 128;  // of a block
constexpr std::int64_t kKeyTiles = kKeys / kRows, kQueryTiles = kQueries / kRows;
constexpr std::int64_t kTileFloats = kRows * kRows, kPairTile = 2 * kRows;
constexpr float kLog2E = 1.44269504F;

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

/// c [2 tiles, 2 tiles] (+)= left [2 tiles, depth blocks] · right [2 tiles, depth blocks]ᵀ. Tiles of a row of
/// each side are `left_step` and `right_step` blocks apart; a row of c's tiles is `c_step` floats long.
struct Sums {
  float* data;
  std::int64_t step;  ///< floats from one row of tiles to the next; tiles beside each other follow
};
void product(const std::uint8_t* left, std::int64_t left_step, const std::uint8_t* right,
             std::int64_t right_step, std::int64_t depth, const Sums& c, bool add) {
  if (add) {
    tile_load<0>(c.data, 64);
    tile_load<1>(c.data + kTileFloats, 64);
    tile_load<2>(c.data + c.step, 64);
    tile_load<3>(c.data + c.step + kTileFloats, 64);
  } else {
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
  }
  for (std::int64_t i = 0; i < depth; ++i) {
    tile_load<4>(left + i * kTileBytes, 64);
    tile_load<6>(right + i * kTileBytes, 64);
    tile_dot_bf16<0, 4, 6>();
    tile_load<7>(right + (right_step + i) * kTileBytes, 64);
    tile_dot_bf16<1, 4, 7>();
    tile_load<5>(left + (left_step + i) * kTileBytes, 64);
    tile_dot_bf16<3, 5, 7>();
    tile_dot_bf16<2, 5, 6>();
  }
  tile_store<0>(c.data, 64);
  tile_store<1>(c.data + kTileFloats, 64);
  tile_store<2>(c.data + c.step, 64);
  tile_store<3>(c.data + c.step + kTileFloats, 64);
}

/// The memory and the steps of one call.
class Gradient {
 public:
  explicit Gradient(const AttentionBackwardArgs& a)
      : a_(a),
        rows_(a.row_end - a.row_begin),
        padded_((rows_ + kPairTile - 1) / kPairTile * kPairTile),
        width_((a.d + 31) / 32 * 32),
        steps_(width_ / 32),
        row_blocks_(blocks_of(rows_)) {
    float* p = a.scratch;
    const auto floats = [&](std::int64_t count) { return p += count, p - count; };
    const auto bytes = [&](std::int64_t count) { return reinterpret_cast<std::uint8_t*>(floats(count / 4)); };
    const std::int64_t whole = padded_ * width_ * 2, block = kKeys * width_ * 2;
    std::uint8_t** const whole_sides[] = {&q_, &d_out_, &q_down_, &d_out_down_};
    for (std::uint8_t** side : whole_sides) *side = bytes(whole);
    d_q_ = floats(padded_ * width_);
    log_sums_ = floats(padded_);
    deltas_ = floats(padded_);
    std::uint8_t** const block_sides[] = {&keys_, &values_, &keys_down_};
    for (std::uint8_t** side : block_sides) *side = bytes(block);
    d_k_ = floats(kKeys * width_);
    d_v_ = floats(kKeys * width_);
    std::uint8_t** const score_sides[] = {&weights_, &d_scores_, &d_scores_down_};
    for (std::uint8_t** side : score_sides) *side = bytes(kKeys * kQueries * 2);
    scores_ = floats(4 * kTileFloats);
    d_weights_ = floats(4 * kTileFloats);
  }

  void run() {
    for (std::int64_t head = a_.head_begin; head < a_.head_end; ++head) {
      load_head(head);
      for (std::int64_t key = 0; key < rows_; key += kKeys) run_keys(head, key);
      write_queries(head);
    }
  }

 private:
  // A side of one head: of x [rows, d] at `x`, all rows or columns of it. The tiles up to `tiles` are zero.
  template <bool kPairRows>
  void make(const float* x, std::int64_t stride, std::int64_t rows, bool transposed, std::int64_t tiles,
            std::uint8_t* out) const {
    const std::int64_t side = transposed ? a_.d : rows, k = transposed ? rows : a_.d;
    make_side<kPairRows, false>({x, stride, side, k, transposed, out, 0, side});
    const std::int64_t row_bytes = blocks_of(k) * kTileBytes;
    for (std::int64_t at = tiles_of(side) * row_bytes; at < tiles * row_bytes; at += 64)
      _mm512_store_si512(out + at, _mm512_setzero_si512());
  }

  /// Queries as the forward has them, so that its sums fit: their products with keys are powers of two.
  void make_queries(const float* x) {
    const __m512 factor = query_factor(a_.scale);
    std::uint8_t* out = q_;
    for (std::int64_t row = 0; row < padded_; row += kRows) {
      for (std::int64_t i = 0; i < width_; i += 32, out += kTileBytes) {
        __m512i v[kRows];
        for (std::int64_t r = 0; r < kRows; ++r) {
          const float* from = x + (row + r) * a_.q_stride + i;
          const std::int64_t left = row + r < rows_ ? a_.d - i : 0;
          v[r] = paired(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(left), from), factor),
                        _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(left - 16), from + 16), factor));
        }
        transpose(v);
        for (int r = 0; r < kRows; ++r) _mm512_store_si512(out + r * 64, v[r]);
      }
    }
  }

  void load_head(std::int64_t head) {
    const std::int64_t at = a_.row_begin * a_.q_stride + head * a_.d, tiles = padded_ / kRows;
    make_queries(a_.q + at);
    make<true>(a_.d_out + at, a_.q_stride, rows_, false, tiles, d_out_);
    make<true>(a_.q + at, a_.q_stride, rows_, true, width_ / kRows, q_down_);
    make<true>(a_.d_out + at, a_.q_stride, rows_, true, width_ / kRows, d_out_down_);
    for (std::int64_t i = 0; i < padded_ * width_; i += 16) _mm512_store_ps(d_q_ + i, _mm512_setzero_ps());
    for (std::int64_t r = 0; r < padded_; ++r) {
      __m512 sum = _mm512_setzero_ps();
      for (std::int64_t i = 0; r < rows_ && i < a_.d; i += 16) {
        const std::int64_t from = at + r * a_.q_stride + i;
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes(a_.d - i), a_.d_out + from),
                              _mm512_maskz_loadu_ps(lanes(a_.d - i), a_.out + from), sum);
      }
      deltas_[r] = _mm512_reduce_add_ps(sum);
      log_sums_[r] = r < rows_ ? a_.log_sums[(at + r * a_.q_stride) / a_.d] * kLog2E : 0;
    }
  }

  const float* key_at(const float* x, std::int64_t key) const {
    return x + (a_.row_begin + key) * a_.kv_stride + a_.kv_head * a_.d;
  }
  std::int64_t count(std::int64_t key) const { return least(rows_ - key, kKeys); }
  /// Whether any of 32 queries sees any of 32 keys.
  bool sees(std::int64_t row, std::int64_t key) const {
    return key < row + kPairTile && key < rows_ && row < rows_ &&
           (a_.sliding_window == 0 || row - (key + kPairTile - 1) < a_.sliding_window);
  }
  /// Which of 16 queries from `row` on see a key.
  __mmask16 seen(std::int64_t row, std::int64_t key) const {
    const auto below = [](std::int64_t n) { return lanes(n < 0 ? 0 : n); };
    auto mask = static_cast<__mmask16>(~below(key - row));
    if (a_.sliding_window > 0) mask &= below(key + a_.sliding_window - row);
    return mask;
  }

  void run_keys(std::int64_t head, std::int64_t key) {
    make<false>(key_at(a_.k, key), a_.kv_stride, count(key), false, kKeyTiles, keys_);
    make<false>(key_at(a_.v, key), a_.kv_stride, count(key), false, kKeyTiles, values_);
    make<false>(key_at(a_.k, key), a_.kv_stride, count(key), true, width_ / kRows, keys_down_);
    bool add = false;
    for (std::int64_t row = key; row < rows_; row += kQueries) {
      if (a_.sliding_window > 0 && row - (key + kKeys - 1) >= a_.sliding_window) break;
      const std::int64_t pairs = least(kQueryTiles / 2, row_blocks_ - row / kPairTile);
      weigh(row, key, pairs);
      add_products(row, key, pairs, add);
      add = true;
    }
    const bool first = head == a_.head_begin;
    write_keys(d_k_, key_at(a_.d_k, key), count(key), first);
    write_keys(d_v_, key_at(a_.d_v, key), count(key), first);
  }

  /// Weights and gradients of scores of a block with so many pairs of tiles of queries, as sides of the
  /// products that follow.
  void weigh(std::int64_t row, std::int64_t key, std::int64_t pairs) {
    for (std::int64_t half = 0; half < kKeyTiles / 2; ++half) {
      for (std::int64_t q = 0; q < pairs; ++q) {
        const std::int64_t first = key + half * kPairTile, query = row + q * kPairTile;
        const bool any = sees(query, first);
        if (any) {
          product(keys_ + half * 2 * steps_ * kTileBytes, steps_, q_ + query / kRows * steps_ * kTileBytes,
                  steps_, steps_, {scores_, 2 * kTileFloats}, false);
          product(values_ + half * 2 * steps_ * kTileBytes, steps_,
                  d_out_ + query / kRows * steps_ * kTileBytes, steps_, steps_, {d_weights_, 2 * kTileFloats},
                  false);
        }
        weigh_pair(query, first, half, q, any);
      }
    }
  }

  void weigh_pair(std::int64_t query, std::int64_t key, std::int64_t half, std::int64_t q, bool any) {
    const __m512 scale = _mm512_set1_ps(a_.scale);
    __m512 log_sums[2], deltas[2];
    for (int t = 0; t < 2; ++t) {
      log_sums[t] = _mm512_load_ps(log_sums_ + query + t * kRows);
      deltas[t] = _mm512_load_ps(deltas_ + query + t * kRows);
    }
    std::uint8_t* const left = d_scores_ + (half * 2 * kQueryTiles / 2 + q) * kTileBytes;
    std::uint8_t* const mixed = weights_ + (left - d_scores_);
    std::uint8_t* const right = d_scores_down_ + (q * 2 * (kKeyTiles / 2) + half) * kTileBytes;
    for (std::int64_t r = 0; r < kRows; ++r) {
      __m512 p[2][2], d[2][2];  // [key tile][query tile]
      for (int m = 0; m < 2; ++m) {
        for (int t = 0; t < 2; ++t) {
          const std::int64_t at = (m * 2 + t) * kTileFloats + r * 16;
          const __mmask16 mask = any ? seen(query + t * kRows, key + m * kRows + r) : 0;
          const __m512 x = _mm512_sub_ps(_mm512_load_ps(scores_ + at), log_sums[t]);
          p[m][t] = _mm512_maskz_mov_ps(mask, power(x));
          d[m][t] = _mm512_maskz_mul_ps(mask, _mm512_mul_ps(p[m][t], scale),
                                        _mm512_sub_ps(_mm512_load_ps(d_weights_ + at), deltas[t]));
        }
        const std::int64_t row = m * (kQueryTiles / 2) * kTileBytes + r * 64;
        _mm512_store_si512(mixed + row, paired(p[m][0], p[m][1]));
        _mm512_store_si512(left + row, paired(d[m][0], d[m][1]));
      }
      for (int t = 0; t < 2; ++t)
        _mm512_store_si512(right + t * (kKeyTiles / 2) * kTileBytes + r * 64, paired(d[0][t], d[1][t]));
    }
  }

  /// d_v += weightsᵀ d_out, d_k += d_scoresᵀ q, d_q += d_scores k, the last one transposed.
  void add_products(std::int64_t row, std::int64_t key, std::int64_t depth, bool add) {
    const std::int64_t across = width_ / kRows;
    const std::int64_t key_blocks = blocks_of(count(key));
    for (std::int64_t n = 0; n < across; n += 2) {
      const std::int64_t down = (n * row_blocks_ + row / kPairTile) * kTileBytes;
      for (std::int64_t m = 0; m < kKeyTiles; m += 2) {
        const std::int64_t left = m * (kQueryTiles / 2) * kTileBytes, to = (m * across + n) * kTileFloats;
        const Sums sums = {d_v_ + to, across * kTileFloats};
        product(weights_ + left, kQueryTiles / 2, d_out_down_ + down, row_blocks_, depth, sums, add);
        product(d_scores_ + left, kQueryTiles / 2, q_down_ + down, row_blocks_, depth,
                {d_k_ + to, across * kTileFloats}, add);
      }
      for (std::int64_t q = 0; q < depth; ++q) {
        float* const to = d_q_ + (row + q * kPairTile) * width_ + n * 2 * kTileFloats;
        product(keys_down_ + n * key_blocks * kTileBytes, key_blocks,
                d_scores_down_ + q * 2 * (kKeyTiles / 2) * kTileBytes, kKeyTiles / 2, key_blocks,
                {to, 2 * kTileFloats}, true);
      }
    }
  }

  void write_keys(const float* tiles, const float* to, std::int64_t rows, bool first) const {
    // The arguments' arrays, by the place of a key in k and v.
    auto* out = const_cast<float*>(to);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < a_.d; i += 16) {
        const __mmask16 mask = lanes(a_.d - i);
        float* at = out + r * a_.kv_stride + i;
        __m512 v =
            _mm512_load_ps(tiles + (r / kRows * (width_ / kRows) + i / 16) * kTileFloats + r % kRows * 16);
        if (!first) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, at));
        _mm512_mask_storeu_ps(at, mask, v);
      }
    }
  }

  void write_queries(std::int64_t head) {
    for (std::int64_t row = 0; row < rows_; row += kRows) {
      for (std::int64_t i = 0; i < a_.d; i += 16) {
        const float* tile = d_q_ + row / kPairTile * kPairTile * width_ +
                            (i / 16 * 2 + row % kPairTile / kRows) * kTileFloats;
        __m512i v[kRows];
        for (int r = 0; r < kRows; ++r) v[r] = _mm512_load_si512(tile + r * 16);
        transpose(v);
        for (std::int64_t r = 0; r < least(kRows, rows_ - row); ++r) {
          float* to = a_.d_q + (a_.row_begin + row + r) * a_.q_stride + head * a_.d + i;
          _mm512_mask_storeu_ps(to, lanes(a_.d - i), _mm512_castsi512_ps(v[r]));
        }
      }
    }
  }

  const AttentionBackwardArgs& a_;
  const std::int64_t rows_, padded_, width_, steps_, row_blocks_;  // steps_: blocks of d
  std::uint8_t *q_, *d_out_;                                       // right sides [row tile][d block]
  std::uint8_t *q_down_, *d_out_down_;                             // right sides [d tile][row block]
  float* d_q_;                                                     // [32 queries][d tile][2 query tiles]
  float *log_sums_, *deltas_;
  std::uint8_t *keys_, *values_;       // left sides [key tile][d block]
  std::uint8_t* keys_down_;            // left side [d tile][key block]
  float *d_k_, *d_v_;                  // [key tile][d tile]
  std::uint8_t *weights_, *d_scores_;  // left sides [key tile][query block]
  std::uint8_t* d_scores_down_;        // right side [query tile][key block]
  float *scores_, *d_weights_;         // [2 key tiles][2 query tiles]
};

void attention_backward(const AttentionBackwardArgs& a) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  Gradient(a).run();
}

}  // namespace

/// Not dropped_attention_backward: with dropout of attention's weights the forward and the backward are those
/// of the avx512 set, in fp32.
void amx_attention_backward_slots(KernelSlots& slots) {
  slots.train.attention_backward = attention_backward;
}

}  // namespace tw::kernels
