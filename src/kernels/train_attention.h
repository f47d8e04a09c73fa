// Gradients of attention, block by block (arXiv 2205.14135), for any vector width. The policy V is
// train_rows.h's, with kTileRows rows of kTileVectors vectors for the tile of a product. Everything is
// internal to the including file.
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/train_dropout.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

/// A matrix whose element [m, k] is data[m * row + k * column].
struct Left {
  const float* data;
  std::int64_t row, column;
};
/// A matrix with rows of whole vectors.
struct Rows {
  float* data;
  std::int64_t stride;
};

/// c[m, n] += sum_k a[m, k] * b[k, n] for kM rows and kN vectors.
template <typename V, int kM, int kN>
void add_tile(const Left& a, const Rows& b, const Rows& c, std::int64_t depth) {
  typename V::Floats sum[kM][kN];
#pragma GCC unroll 8
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) sum[m][n] = V::load(c.data + m * c.stride + n * V::kLanes);
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    typename V::Floats row[kN];
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) row[n] = V::load(b.data + k * b.stride + n * V::kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kM; ++m) {
      const typename V::Floats factor = V::all(a.data[m * a.row + k * a.column]);
#pragma GCC unroll 8
      for (int n = 0; n < kN; ++n) sum[m][n] = V::fma(factor, row[n], sum[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kN; ++n) V::store(c.data + m * c.stride + n * V::kLanes, sum[m][n]);
  }
}

template <typename V, int kN>
void add_columns(Left a, const Rows& b, Rows c, std::int64_t rows, std::int64_t depth) {
  std::int64_t m = 0;
  for (; m + V::kTileRows <= rows;
       m += V::kTileRows, a.data += V::kTileRows * a.row, c.data += V::kTileRows * c.stride)
    add_tile<V, V::kTileRows, kN>(a, b, c, depth);
  for (; m < rows; ++m, a.data += a.row, c.data += c.stride) add_tile<V, 1, kN>(a, b, c, depth);
}

/// c[rows, width] += a[rows, depth] * b[depth, width]; width is a multiple of kLanes.
template <typename V>
void add_product(const Left& a, Rows b, Rows c, std::int64_t rows, std::int64_t width, std::int64_t depth) {
  constexpr std::int64_t kWide = V::kTileVectors * V::kLanes;
  std::int64_t n = 0;
  for (; n + kWide <= width; n += kWide, b.data += kWide, c.data += kWide)
    add_columns<V, V::kTileVectors>(a, b, c, rows, depth);
  for (; n < width; n += V::kLanes, b.data += V::kLanes, c.data += V::kLanes)
    add_columns<V, 1>(a, b, c, rows, depth);
}

inline void fill(float* x, std::int64_t count, float value) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = value;
}

/// One head's rows into rows of whole vectors, the rest zeros, or with `kTransposed` columns for rows.
template <bool kTransposed>
void copy_block(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t d, const Rows& to) {
  fill(to.data, (kTransposed ? d : kBackwardRows) * to.stride, 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < d; ++i)
      to.data[kTransposed ? i * to.stride + r : r * to.stride + i] = from[r * stride + i];
  }
}

/// The memory and the steps of one call.
template <typename V>
class AttentionGradient {
 public:
  explicit AttentionGradient(const AttentionBackwardArgs& a)
      : a_(a), rows_(a.row_end - a.row_begin), width_((a.d + 15) / 16 * 16) {
    const std::int64_t group = a.head_end - a.head_begin, padded = (rows_ + 15) / 16 * 16;
    float* p = a.scratch;
    const auto take = [&](std::int64_t floats) { return p += floats, p - floats; };
    deltas_ = take(group * padded);
    per_head_ = padded;
    Rows* const by_row[] = {&q_, &d_out_, &keys_, &d_q_, &d_k_, &d_v_};
    for (Rows* block : by_row) *block = {take(kBackwardRows * width_), width_};
    Rows* const by_column[] = {&keys_t_, &values_t_};
    for (Rows* block : by_column) *block = {take(kBackwardRows * width_), kBackwardRows};
    Rows* const scores[] = {&weights_, &d_scores_};
    for (Rows* block : scores) *block = {take(kBackwardRows * kBackwardRows), kBackwardRows};
  }

  void run() {
    for (std::int64_t head = a_.head_begin; head < a_.head_end; ++head) begin_queries(head);
    for (std::int64_t key = 0; key < rows_; key += kBackwardRows) run_keys(key);
  }

 private:
  static std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
  std::int64_t count(std::int64_t first) const { return least(rows_ - first, kBackwardRows); }
  std::int64_t query_at(std::int64_t head, std::int64_t row) const {
    return (a_.row_begin + row) * a_.q_stride + head * a_.d;
  }
  std::int64_t key_at(std::int64_t row) const {
    return (a_.row_begin + row) * a_.kv_stride + a_.kv_head * a_.d;
  }
  float log_sum(std::int64_t head, std::int64_t row) const { return a_.log_sums[query_at(head, row) / a_.d]; }
  float* delta(std::int64_t head, std::int64_t row) const {
    return deltas_ + (head - a_.head_begin) * per_head_ + row;
  }
  /// Whether any of the block of queries sees any of the block of keys.
  bool sees(std::int64_t row, std::int64_t key) const {
    return key <= row && (a_.sliding_window == 0 || row - (key + kBackwardRows - 1) < a_.sliding_window);
  }

  /// weights_ = q kᵀ scale, very small where a query does not see a key.
  void score(std::int64_t row, std::int64_t key) {
    fill(weights_.data, kBackwardRows * kBackwardRows, 0);
    add_product<V>({q_.data, width_, 1}, keys_t_, weights_, count(row), kBackwardRows, a_.d);
    for (std::int64_t r = 0; r < count(row); ++r) {
      float* scores = weights_.data + r * kBackwardRows;
      const std::int64_t at = row + r, end = at + 1 - key;  // in columns of the block
      const std::int64_t begin = a_.sliding_window > 0 ? end - a_.sliding_window : 0;
      for_vectors<V>(0, kBackwardRows, [&](std::int64_t i, std::int64_t lanes) {
        V::store(scores + i, V::mul(V::load(scores + i), V::all(a_.scale)), lanes);
      });
      for (std::int64_t i = 0; i < begin; ++i) scores[i] = kUnseen;
      for (std::int64_t i = end > 0 ? end : 0; i < kBackwardRows; ++i) scores[i] = kUnseen;
    }
  }

  void load_keys(std::int64_t key) {
    copy_block<true>(a_.k + key_at(key), a_.kv_stride, count(key), a_.d, keys_t_);
  }
  void load_queries(std::int64_t head, std::int64_t row) {
    copy_block<false>(a_.q + query_at(head, row), a_.q_stride, count(row), a_.d, q_);
  }

  /// d_out · out of a head's queries; clears their d_q.
  void begin_queries(std::int64_t head) {
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::int64_t at = query_at(head, row);
      *delta(head, row) = dot<V>(a_.d_out + at, a_.out + at, a_.d);
      fill(a_.d_q + at, a_.d, 0);
    }
  }

  void run_keys(std::int64_t key) {
    load_keys(key);
    copy_block<false>(a_.k + key_at(key), a_.kv_stride, count(key), a_.d, keys_);
    copy_block<true>(a_.v + key_at(key), a_.kv_stride, count(key), a_.d, values_t_);
    fill(d_k_.data, kBackwardRows * width_, 0);
    fill(d_v_.data, kBackwardRows * width_, 0);
    for (std::int64_t head = a_.head_begin; head < a_.head_end; ++head) {
      for (std::int64_t row = key; row < rows_ && sees(row, key); row += kBackwardRows)
        run_block(head, row, key);
    }
    for (std::int64_t r = 0; r < count(key); ++r) {
      for_vectors<V>(0, a_.d, [&](std::int64_t i, std::int64_t lanes) {
        V::store(a_.d_k + key_at(key + r) + i, V::load(d_k_.data + r * width_ + i), lanes);
        V::store(a_.d_v + key_at(key + r) + i, V::load(d_v_.data + r * width_ + i), lanes);
      });
    }
  }

  /// Adds what one block of queries gives to the gradients of one block of keys, and takes from it.
  void run_block(std::int64_t head, std::int64_t row, std::int64_t key) {
    load_queries(head, row);
    copy_block<false>(a_.d_out + query_at(head, row), a_.q_stride, count(row), a_.d, d_out_);
    score(row, key);
    fill(d_scores_.data, kBackwardRows * kBackwardRows, 0);
    add_product<V>({d_out_.data, width_, 1}, values_t_, d_scores_, count(row), kBackwardRows, a_.d);
    for (std::int64_t r = 0; r < count(row); ++r) {
      float *weights = weights_.data + r * kBackwardRows, *d_scores = d_scores_.data + r * kBackwardRows;
      if (a_.dropout != nullptr) {
        drop_row(head, row + r, key, weights, d_scores);
        continue;
      }
      const typename V::Floats log_sums = V::all(log_sum(head, row + r)),
                               deltas = V::all(*delta(head, row + r));
      for (std::int64_t i = 0; i < kBackwardRows; i += V::kLanes) {
        const typename V::Floats p = V::exp(V::sub(V::load(weights + i), log_sums));
        V::store(weights + i, p);
        V::store(d_scores + i, V::mul(V::mul(p, V::sub(V::load(d_scores + i), deltas)), V::all(a_.scale)));
      }
    }
    const std::int64_t rows = count(row), keys = count(key);
    add_product<V>({weights_.data, 1, kBackwardRows}, d_out_, d_v_, keys, width_, rows);
    add_product<V>({d_scores_.data, 1, kBackwardRows}, q_, d_k_, keys, width_, rows);
    fill(d_q_.data, kBackwardRows * width_, 0);
    add_product<V>({d_scores_.data, kBackwardRows, 1}, keys_, d_q_, rows, width_, keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* out = a_.d_q + query_at(head, row + r);
      for_vectors<V>(0, a_.d, [&](std::int64_t i, std::int64_t lanes) {
        V::store(out + i, V::add(V::load(out + i, lanes), V::load(d_q_.data + r * width_ + i)), lanes);
      });
    }
  }

  /// run_block's for one row, of whose weights dropout leaves some out: their gradients are those of what is
  /// left. d_out · out is what it is without: the sum of weights times their gradients.
  void drop_row(std::int64_t head, std::int64_t row, std::int64_t key, float* weights, float* d_scores) {
    static_assert(kBackwardRows == kWordColumns);
    const AttentionDropout& d = *a_.dropout;
    const typename V::Floats log_sums = V::all(log_sum(head, row)), deltas = V::all(*delta(head, row)),
                             scale = V::all(a_.scale), more = V::all(d.scale);
    for (std::int64_t lane = 0; lane < kWordsApart; lane += V::kLanes) {
      typename V::Words words[4] = {V::counting(static_cast<std::uint32_t>(key / 4 + lane)),
                                    V::words(d.first_row + static_cast<std::uint32_t>(a_.row_begin + row)),
                                    V::words(d.site + static_cast<std::uint32_t>(head)), V::words(d.step)};
      philox_lanes<V>(words, static_cast<std::uint32_t>(d.seed), static_cast<std::uint32_t>(d.seed >> 32));
      for (std::int64_t w = 0; w < 4; ++w) {
        const std::int64_t i = w * kWordsApart + lane;
        const typename V::Floats p = V::exp(V::sub(V::load(weights + i), log_sums));
        const typename V::Floats kept = V::where_at_least(words[w], d.dropped, more);
        V::store(weights + i, V::mul(p, kept));
        const typename V::Floats d_weight = V::mul(V::load(d_scores + i), kept);
        V::store(d_scores + i, V::mul(V::mul(p, V::sub(d_weight, deltas)), scale));
      }
    }
  }

  static constexpr float kUnseen = -1e30F;
  const AttentionBackwardArgs& a_;
  const std::int64_t rows_, width_;  // of the document; d in whole vectors
  std::int64_t per_head_ = 0;
  float* deltas_;
  Rows q_, d_out_, keys_, d_q_, d_k_, d_v_, keys_t_, values_t_, weights_, d_scores_;
};

template <typename V>
void attention_backward(const AttentionBackwardArgs& a) {
  AttentionGradient<V>(a).run();
}

template <typename V>
void fill_train_slots(TrainSlots& slots) {
  slots.rms_norm_backward = rms_norm_backward<V>;
  slots.add_column_sums = add_column_sums<V>;
  slots.silu_mul_backward = silu_mul_backward<V>;
  slots.cross_entropy = cross_entropy<V>;
  slots.transpose = transpose<V>;
  slots.round_bf16 = round_bf16<V>;
  slots.add = add<V>;
  slots.dropout = dropout<V>;
  slots.attention_backward = slots.dropped_attention_backward = attention_backward<V>;
  slots.adamw = adamw<V>;
  slots.sum_squares = sum_squares<V>;
}

}  // namespace
}  // namespace tw::kernels
