// Attention in pieces of kAttentionPiece positions, cut at absolute positions, for all vector widths. A piece
// gives its largest score, the sum of its weights and its mix of values, whatever the other pieces give; then
// pieces are merged in their order. So a row has the same bits whether one worker goes through all its pieces
// or each piece has another worker. Up to kMost rows share each load of keys and values.
//
// "Row" below is a row of the step for one query head: row m is row m / heads, head m % heads. Everything is
// internal to the including file. A vector V has, besides what panel_matmul.h asks for: kMost, blocks(count)
// and vectors(count) (what of keys and values is held at a time for so many rows), load, bfloats, half,
// bfloat, add, larger, exp, sum_of, largest_of, and what philox_lanes.h asks for.
//
// Keys and values are made fp32 as they are loaded. Scales of bytes are applied to scores and to weights
// instead: a position has one for all of a key's elements, and one for all of a value's.
#pragma once

#include <cstdint>

#include "kernels/args.h"
#include "kernels/philox_lanes.h"

namespace tw::kernels {
namespace {

constexpr float kNeverSeen = -1e30F;  // exp of it less any score is 0

template <typename V>
struct PieceAttention {
  using Floats = typename V::Floats;
  static constexpr int kLanes = V::kRows;
  static constexpr int kParts = kKvBlock / kLanes;  // vectors of a block's scores

  /// Positions [begin, end).
  struct Range {
    std::int64_t begin, end;
  };

  /// What a piece makes of a row, or all pieces so far: numbers in memory.
  struct Sums {
    float* p;
    float& largest() const { return p[0]; }
    float& sum() const { return p[1]; }
    float* mix() const { return p + 2; }
  };

  static std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
  static std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

  static std::int64_t heads(const AttentionArgs& a) { return a.head_end - a.head_begin; }
  static std::int64_t rows(const AttentionArgs& a) { return (a.row_end - a.row_begin) * heads(a); }
  static std::int64_t offset(const AttentionArgs& a, std::int64_t m) {
    return (a.row_begin + m / heads(a)) * a.stride + (a.head_begin + m % heads(a)) * a.kv.head_dim;
  }
  static Range seen_by(const AttentionArgs& a, std::int64_t m) {
    const std::int64_t end = a.first_position + m / heads(a) + 1;
    return {a.sliding_window > 0 ? larger(0, end - a.sliding_window) : 0, end};
  }
  static Range within(Range r, std::int64_t piece) {
    return {larger(r.begin, piece * kAttentionPiece), smaller(r.end, (piece + 1) * kAttentionPiece)};
  }
  template <DType kType>
  static std::int64_t block_at(const AttentionArgs& a, std::int64_t block) {
    return (a.blocks[block] * a.kv.kv_heads + a.kv_head) * kv_head_elements(kType, a.kv.head_dim);
  }
  static Sums partial(const AttentionArgs& a, std::int64_t piece, std::int64_t m) {
    return {a.partials + (piece * rows(a) + m) * attention_partial(a.kv.head_dim)};
  }

  static constexpr bool is_scaled(DType type) { return type == DType::kI8; }

  template <DType kType>
  static const std::uint8_t* element(const void* base, std::int64_t at) {
    return static_cast<const std::uint8_t*>(base) + at * kv_element_bytes(kType);
  }

  /// kLanes elements of the cache as fp32, bytes without their scale.
  template <DType kType>
  static Floats load(const void* base, std::int64_t at) {
    const std::uint8_t* p = element<kType>(base, at);
    if constexpr (kType == DType::kF32)
      return V::load(reinterpret_cast<const float*>(p));
    else if constexpr (kType == DType::kBF16)
      return V::bfloats(p);
    else if constexpr (kType == DType::kI8)
      return V::signed_bytes(p);
    else
      return V::halves(p);
  }
  template <DType kType>
  static float load_one(const void* base, std::int64_t at) {
    const std::uint8_t* p = element<kType>(base, at);
    if constexpr (kType == DType::kF32)
      return *reinterpret_cast<const float*>(p);
    else if constexpr (kType == DType::kBF16)
      return V::bfloat(reinterpret_cast<const std::uint16_t*>(p));
    else if constexpr (kType == DType::kI8)
      return static_cast<float>(*reinterpret_cast<const std::int8_t*>(p));
    else
      return V::half(reinterpret_cast<const std::uint16_t*>(p));
  }

  /// Scales of part `part` of a head's block of bytes that begins at `at`.
  static Floats scales(const AttentionArgs& a, const void* base, std::int64_t at, std::int64_t part) {
    const std::uint8_t* p = static_cast<const std::uint8_t*>(base) + at + kKvBlock * a.kv.head_dim;
    return V::load(reinterpret_cast<const float*>(p) + part * kLanes);
  }

  /// Asks for an element of the cache to be brought near: 3 for the nearest cache, 2 for the next.
  template <DType kType, int kNear>
  static void fetch(const void* base, std::int64_t at) {
    __builtin_prefetch(element<kType>(base, at), 0, kNear);
  }

  /// Scores of kCount rows with kBlocks blocks from `block`, to scores + row * kAttentionPiece. q:
  /// [d][kCount]. kFetch: meanwhile asks for these blocks' values, and for the keys of as many blocks after
  /// them, `last` at most: a cache that is read once comes from memory, and its blocks lie anywhere.
  template <DType kType, int kCount, int kBlocks, bool kFetch>
  static void score(const AttentionArgs& a, const float* q, std::int64_t block, std::int64_t last,
                    float* scores) {
    std::int64_t at[kBlocks], next[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      at[b] = block_at<kType>(a, block + b);
      next[b] = block_at<kType>(a, smaller(block + kBlocks + b, last));
      if constexpr (kFetch && is_scaled(kType)) {
        fetch<kType, 3>(a.kv.keys, next[b] + kKvBlock * a.kv.head_dim);
        fetch<kType, 2>(a.kv.values, at[b] + kKvBlock * a.kv.head_dim);
      }
    }
    Floats sum[kBlocks][kParts][kCount];
    for (int b = 0; b < kBlocks; ++b)
      for (int part = 0; part < kParts; ++part)
        for (int r = 0; r < kCount; ++r) sum[b][part][r] = V::zeros();
    for (std::int64_t i = 0; i < a.kv.head_dim; ++i, q += kCount) {
      Floats x[kCount];
      for (int r = 0; r < kCount; ++r) x[r] = V::all(q[r]);
      for (int b = 0; b < kBlocks; ++b) {
        // A line of 64 bytes holds four rows of bytes: one of them asks for it.
        if (kFetch && (kType != DType::kI8 || i % 4 == 0)) {
          fetch<kType, 3>(a.kv.keys, next[b] + i * kKvBlock);
          fetch<kType, 2>(a.kv.values, at[b] + i * kKvBlock);
        }
        for (int part = 0; part < kParts; ++part) {
          const Floats key = load<kType>(a.kv.keys, at[b] + i * kKvBlock + part * kLanes);
          for (int r = 0; r < kCount; ++r) sum[b][part][r] = V::fma(x[r], key, sum[b][part][r]);
        }
      }
    }
    for (int b = 0; b < kBlocks; ++b)
      for (int part = 0; part < kParts; ++part)
        for (int r = 0; r < kCount; ++r) {
          Floats all = sum[b][part][r];
          if constexpr (is_scaled(kType)) all = V::mul(all, scales(a, a.kv.keys, at[b], part));
          V::store(scores + r * kAttentionPiece + b * kKvBlock + part * kLanes, all);
        }
  }

  /// A row's scores of blocks [first, last) of a piece into weights; what it does not see, `seen` being
  /// counted from the piece's beginning, gets 0.
  static void weigh(float* scores, Range seen, std::int64_t first, std::int64_t last, Sums out) {
    for (std::int64_t p = first * kKvBlock; p < smaller(seen.begin, last * kKvBlock); ++p)
      scores[p] = kNeverSeen;
    for (std::int64_t p = larger(seen.end, first * kKvBlock); p < last * kKvBlock; ++p)
      scores[p] = kNeverSeen;
    Floats largest = V::all(kNeverSeen);
    for (std::int64_t p = first * kKvBlock; p < last * kKvBlock; p += kLanes)
      largest = V::larger(largest, V::load(scores + p));
    out.largest() = V::largest_of(largest);
    // In a piece of which it sees nothing all weights are 0.
    const Floats top = V::all(seen.begin < seen.end ? out.largest() : 0);
    Floats sum = V::zeros();
    for (std::int64_t p = first * kKvBlock; p < last * kKvBlock; p += kLanes) {
      const Floats e = V::exp(V::sub(V::load(scores + p), top));
      V::store(scores + p, e);
      sum = V::add(sum, e);
    }
    out.sum() = V::sum_of(sum);
  }

  /// Leaves some of row m's weights of blocks [first, last) of a piece out, and makes the others larger.
  static void drop(const AttentionArgs& a, std::int64_t m, std::int64_t piece, std::int64_t first,
                   std::int64_t last, float* weights) {
    static_assert(kKvBlock == kWordsApart && kAttentionPiece % kWordColumns == 0);
    const AttentionDropout& d = *a.dropout;
    const auto row = static_cast<std::uint32_t>(a.row_begin + m / heads(a)),
               head = static_cast<std::uint32_t>(a.head_begin + m % heads(a));
    const Floats scale = V::all(d.scale);
    for (std::int64_t group = first / 4 * 4; group < last; group += 4) {
      const std::int64_t column = (piece * kAttentionPiece + group * kKvBlock) / 4;
      for (std::int64_t lane = 0; lane < kWordsApart; lane += kLanes) {
        typename V::Words words[4] = {V::counting(static_cast<std::uint32_t>(column + lane)),
                                      V::words(d.first_row + row), V::words(d.site + head), V::words(d.step)};
        philox_lanes<V>(words, static_cast<std::uint32_t>(d.seed), static_cast<std::uint32_t>(d.seed >> 32));
        for (std::int64_t block = larger(group, first); block < smaller(group + 4, last); ++block) {
          float* p = weights + block * kKvBlock + lane;
          V::store(p, V::where_at_least(words[block - group], d.dropped, V::mul(V::load(p), scale)));
        }
      }
    }
  }

  /// Multiplies a row's weights of blocks [first, last) of the piece that begins at block `base` by the
  /// scales of these positions' values. What lies past the sequence's end may become anything.
  template <DType kType>
  static void scale_weights(const AttentionArgs& a, std::int64_t base, std::int64_t first, std::int64_t last,
                            float* weights) {
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t at = block_at<kType>(a, base + block);
      for (int part = 0; part < kParts; ++part) {
        float* p = weights + block * kKvBlock + part * kLanes;
        V::store(p, V::mul(V::load(p), scales(a, a.kv.values, at, part)));
      }
    }
  }

  /// Elements [i, i + kVectors * kLanes) of the mix of kCount rows over positions `seen` of the sequence.
  template <DType kType, int kCount, int kVectors>
  static void mix(const AttentionArgs& a, Range seen, std::int64_t i, const float* weights, const Sums* out) {
    Floats sum[kCount][kVectors];
    for (int r = 0; r < kCount; ++r)
      for (int v = 0; v < kVectors; ++v) sum[r][v] = V::zeros();
    for (std::int64_t p = seen.begin; p < seen.end;) {
      const std::int64_t end = smaller((p / kKvBlock + 1) * kKvBlock, seen.end);
      std::int64_t at = block_at<kType>(a, p / kKvBlock) + p % kKvBlock * a.kv.head_dim + i;
      for (; p < end; ++p, at += a.kv.head_dim) {
        Floats value[kVectors];
        for (int v = 0; v < kVectors; ++v) value[v] = load<kType>(a.kv.values, at + v * kLanes);
        for (int r = 0; r < kCount; ++r) {
          const Floats x = V::all(weights[r * kAttentionPiece + p % kAttentionPiece]);
          for (int v = 0; v < kVectors; ++v) sum[r][v] = V::fma(x, value[v], sum[r][v]);
        }
      }
    }
    for (int r = 0; r < kCount; ++r)
      for (int v = 0; v < kVectors; ++v) V::store(out[r].mix() + i + v * kLanes, sum[r][v]);
  }

  /// The elements past the last whole vector.
  template <DType kType, int kCount>
  static void mix_tail(const AttentionArgs& a, Range seen, std::int64_t i, const float* weights,
                       const Sums* out) {
    for (; i < a.kv.head_dim; ++i) {
      float sum[kCount] = {};
      for (std::int64_t p = seen.begin; p < seen.end; ++p) {
        const std::int64_t at = block_at<kType>(a, p / kKvBlock) + p % kKvBlock * a.kv.head_dim + i;
        const float value = load_one<kType>(a.kv.values, at);
        for (int r = 0; r < kCount; ++r) sum[r] += weights[r * kAttentionPiece + p % kAttentionPiece] * value;
      }
      for (int r = 0; r < kCount; ++r) out[r].mix()[i] = sum[r];
    }
  }

  /// Scores of blocks [first, last) of the sequence.
  template <DType kType, int kCount, bool kFetch>
  static void score_all(const AttentionArgs& a, const float* q, std::int64_t first, std::int64_t last,
                        float* scores) {
    constexpr int kBlocks = V::blocks(kCount);
    std::int64_t block = first;
    for (; block + kBlocks <= last; block += kBlocks, scores += kBlocks * kKvBlock)
      score<kType, kCount, kBlocks, kFetch>(a, q, block, last - 1, scores);
    for (; block < last; ++block, scores += kKvBlock)
      score<kType, kCount, 1, kFetch>(a, q, block, last - 1, scores);
  }

  /// What one piece makes of rows [m, m + kCount), which see `seen` of it together.
  template <DType kType, int kCount>
  static void run_piece(const AttentionArgs& a, std::int64_t m, std::int64_t piece, Range seen,
                        const float* q, float* scores, const Sums* out) {
    constexpr int kVectors = V::vectors(kCount);
    const std::int64_t base = piece * kAttentionPiece / kKvBlock;
    const std::int64_t first = seen.begin / kKvBlock - base, last = (seen.end - 1) / kKvBlock + 1 - base;
    // All rows but the first ones of a call find the cache near.
    if (m == 0)
      score_all<kType, kCount, true>(a, q, base + first, base + last, scores + first * kKvBlock);
    else
      score_all<kType, kCount, false>(a, q, base + first, base + last, scores + first * kKvBlock);
    for (int r = 0; r < kCount; ++r) {
      const Range own = within(seen_by(a, m + r), piece);
      float* row = scores + r * kAttentionPiece;
      weigh(row, {own.begin - base * kKvBlock, own.end - base * kKvBlock}, first, last, out[r]);
      if (a.dropout != nullptr) drop(a, m + r, piece, first, last, row);
      if constexpr (is_scaled(kType)) scale_weights<kType>(a, base, first, last, row);
    }
    const std::int64_t d = a.kv.head_dim;
    std::int64_t i = 0;
    for (; i + kVectors * kLanes <= d; i += kVectors * kLanes)
      mix<kType, kCount, kVectors>(a, seen, i, scores, out);
    for (; i + kLanes <= d; i += kLanes) mix<kType, kCount, 1>(a, seen, i, scores, out);
    mix_tail<kType, kCount>(a, seen, i, scores, out);
  }

  static void clear(const AttentionArgs& a, Sums all) {
    all.largest() = kNeverSeen;
    all.sum() = 0;
    for (std::int64_t i = 0; i < a.kv.head_dim; ++i) all.mix()[i] = 0;
  }

  static float exp_of(float x) {
    float lanes[kLanes];
    V::store(lanes, V::exp(V::all(x)));
    return lanes[0];
  }

  /// Adds what the next piece that a row sees made of it.
  static void merge(const AttentionArgs& a, Sums all, Sums next) {
    const float top = all.largest() > next.largest() ? all.largest() : next.largest();
    const float old = exp_of(all.largest() - top), add = exp_of(next.largest() - top);
    all.largest() = top;
    all.sum() = all.sum() * old + next.sum() * add;
    const std::int64_t d = a.kv.head_dim;
    std::int64_t i = 0;
    for (; i + kLanes <= d; i += kLanes) {
      const Floats more = V::mul(V::load(next.mix() + i), V::all(add));
      V::store(all.mix() + i, V::fma(V::load(all.mix() + i), V::all(old), more));
    }
    for (; i < d; ++i) all.mix()[i] = all.mix()[i] * old + next.mix()[i] * add;
  }

  static void write_out(const AttentionArgs& a, std::int64_t m, Sums all) {
    const float inverse = 1.0F / all.sum();
    float* out = a.out + offset(a, m);
    const std::int64_t d = a.kv.head_dim;
    std::int64_t i = 0;
    for (; i + kLanes <= d; i += kLanes) V::store(out + i, V::mul(V::load(all.mix() + i), V::all(inverse)));
    for (; i < d; ++i) out[i] = all.mix()[i] * inverse;
    if (a.log_sums != nullptr) a.log_sums[offset(a, m) / d] = all.largest() + __builtin_logf(all.sum());
  }

  /// Rows [m, m + kCount): the pieces they see, or the one that is asked for.
  template <DType kType, int kCount>
  static void run_rows(const AttentionArgs& a, std::int64_t m) {
    const std::int64_t d = a.kv.head_dim, record = attention_partial(d);
    float* scores = a.scratch;
    float* q = scores + kCount * kAttentionPiece;
    Sums all[kCount], next[kCount];
    for (int r = 0; r < kCount; ++r) {
      next[r] = {q + kCount * d + r * record};
      all[r] = {q + kCount * (d + record) + r * record};
      clear(a, all[r]);
      const float* from = a.q + offset(a, m + r);
      for (std::int64_t i = 0; i < d; ++i) q[i * kCount + r] = from[i] * a.scale;
    }
    const Range seen = {seen_by(a, m).begin, seen_by(a, m + kCount - 1).end};
    const bool one = a.partials != nullptr;
    const std::int64_t first = one ? a.piece : seen.begin / kAttentionPiece;
    const std::int64_t last = one ? a.piece + 1 : (seen.end - 1) / kAttentionPiece + 1;
    for (std::int64_t piece = first; piece < last; ++piece) {
      const Range here = within(seen, piece);
      if (here.begin >= here.end) continue;
      for (int r = 0; one && r < kCount; ++r) next[r] = partial(a, piece, m + r);
      run_piece<kType, kCount>(a, m, piece, here, q, scores, next);
      for (int r = 0; !one && r < kCount; ++r) {
        const Range own = within(seen_by(a, m + r), piece);
        if (own.begin < own.end) merge(a, all[r], next[r]);
      }
    }
    for (int r = 0; !one && r < kCount; ++r) write_out(a, m + r, all[r]);
  }

  /// The rows from m on, `left` of them, at most kCount at a time.
  template <DType kType, int kCount>
  static void run_rest(const AttentionArgs& a, std::int64_t m, std::int64_t left) {
    for (; left >= kCount; m += kCount, left -= kCount) run_rows<kType, kCount>(a, m);
    if constexpr (kCount > 1) {
      if (left > 0) run_rest<kType, kCount - 1>(a, m, left);
    }
  }

  static void run(const AttentionArgs& a) {
    if (a.kv.type == DType::kF32)
      run_rest<DType::kF32, V::kMost>(a, 0, rows(a));
    else if (a.kv.type == DType::kBF16)
      run_rest<DType::kBF16, V::kMost>(a, 0, rows(a));
    else if (a.kv.type == DType::kI8)
      run_rest<DType::kI8, V::kMost>(a, 0, rows(a));
    else
      run_rest<DType::kF16, V::kMost>(a, 0, rows(a));
  }

  static void merge_pieces(const AttentionArgs& a) {
    for (std::int64_t m = 0; m < rows(a); ++m) {
      const Range seen = seen_by(a, m);
      const Sums all = {a.scratch};
      clear(a, all);
      for (std::int64_t piece = seen.begin / kAttentionPiece; piece * kAttentionPiece < seen.end; ++piece)
        merge(a, all, partial(a, piece, m));
      write_out(a, m, all);
    }
  }
};

template <typename V>
void fill_attention_slots(KernelSlots& slots) {
  slots.attention = slots.prompt_attention = slots.train.dropped_attention = PieceAttention<V>::run;
  slots.merge_attention = PieceAttention<V>::merge_pieces;
}

}  // namespace
}  // namespace tw::kernels
