// What products leave as left sides (sides.h), and what becomes sides from it on the way: it is never written
// down in fp32. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/sides.h"
#include "kernels/avx512/train_vector.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

/// A row of a left side in a block of 32 columns: the first 16 and the others.
struct Widened {
  __m512 first, second;
};
inline Widened widened(__m512i line) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(line, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(line, high))};
}

// --- losses

/// The largest of 16 rows of logits so far, and the sums of exp(logit - largest).
struct RowSums {
  float largest[kRows];
  __m512 sums[kRows];
};

/// Blocks of columns that are in the nearest cache at a time.
constexpr std::int64_t kLossBlocks = 32;

/// Adds `count` blocks of a tile's rows that are there; the blocks behind them are asked for meanwhile.
inline void add_logits(RowSums& rows, std::int64_t there, const __m512i* tiles, std::int64_t count) {
  for (std::int64_t i = 0; i < there; ++i) {
    const __m512i* ahead = tiles + (kLossBlocks + i * kLossBlocks / kRows) * kRows;
    __m512 most = _mm512_set1_ps(rows.largest[i]);
    for (std::int64_t block = 0; block < count; ++block) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead + block), _MM_HINT_T0);
      const Widened x = widened(_mm512_load_si512(tiles + block * kRows + i));
      most = _mm512_max_ps(_mm512_max_ps(most, x.first), x.second);
    }
    const float largest = _mm512_reduce_max_ps(most);
    const __m512 shift = _mm512_set1_ps(largest);
    const __m512 before = TrainVector::exp(_mm512_sub_ps(_mm512_set1_ps(rows.largest[i]), shift));
    __m512 sum = _mm512_mul_ps(rows.sums[i], before), other = _mm512_setzero_ps();
    for (std::int64_t block = 0; block < count; ++block) {
      const Widened x = widened(_mm512_load_si512(tiles + block * kRows + i));
      sum = _mm512_add_ps(sum, TrainVector::exp(_mm512_sub_ps(x.first, shift)));
      other = _mm512_add_ps(other, TrainVector::exp(_mm512_sub_ps(x.second, shift)));
    }
    rows.largest[i] = largest;
    rows.sums[i] = _mm512_add_ps(sum, other);
  }
}

/// Column c of a row of a tile; `tiles`: of 16 rows.
inline float number_of(const __m512i* tiles, std::int64_t row, std::int64_t c) {
  const auto* line = reinterpret_cast<const std::uint16_t*>(tiles + c / kPanelBlock * kRows + row);
  const std::uint32_t bits = line[c % kRows * 2 + c % kPanelBlock / kRows];
  return __builtin_bit_cast(float, bits << 16);
}

inline void rounded_loss(const RoundedLossArgs& a) {
  const std::int64_t blocks = a.vocab / kPanelBlock;
  for (std::int64_t first = a.row_begin; first < a.row_end; first += kRows) {
    const __m512i* tiles = static_cast<const __m512i*>(a.logits) + first / kRows * blocks * kRows;
    const std::int64_t there = a.row_end - first < kRows ? a.row_end - first : kRows;
    RowSums rows;
    for (std::int64_t i = 0; i < kRows; ++i) rows.largest[i] = -1e30F, rows.sums[i] = _mm512_setzero_ps();
    for (std::int64_t block = 0; block < blocks; block += kLossBlocks) {
      const std::int64_t left = blocks - block;
      add_logits(rows, there, tiles + block * kRows, left < kLossBlocks ? left : kLossBlocks);
    }
    for (std::int64_t t = first; t < first + there; ++t) {
      const float total = _mm512_reduce_add_ps(rows.sums[t - first]), largest = rows.largest[t - first];
      const float log_sum = __builtin_logf(total) + largest;
      a.losses[t] = log_sum - number_of(tiles, t - first, a.targets[t]);
      const float weight = a.weights[t] * a.weight_scale;
      a.gradients[t] = {largest, weight * (1.0F + 2.0F * a.z_loss * log_sum) / total, weight};
    }
  }
}

/// The gradients by 16 logits of a row, of columns from c on.
inline __m512i logit_gradients(const LogitLeftsArgs& a, __m512 logits, std::int64_t row, std::int64_t c) {
  const LogitGradient& g = a.gradients[row];
  const __m512 shifted = _mm512_sub_ps(logits, _mm512_set1_ps(g.largest));
  const __m512 d = _mm512_mul_ps(TrainVector::exp(shifted), _mm512_set1_ps(g.scale));
  const std::int64_t at = a.targets[row] - c;
  if (at < 0 || at >= kRows) return rounded(d);
  return rounded(_mm512_mask_sub_ps(d, static_cast<__mmask16>(1U << at), d, _mm512_set1_ps(g.weight)));
}

/// Of 32 by 32 numbers, 16 columns at a time, in the low halves of lanes.
struct Halves {
  __m512i of[2 * kRows][2];
};

/// Rows t .. t + 31 of a left side's block of columns from c on; asks for what comes some blocks later.
class BlockLines {
 public:
  BlockLines(const void* side, std::int64_t rows, std::int64_t columns, std::int64_t t, std::int64_t c)
      : to_second_(columns / kPanelBlock * kRows), there_(rows - t) {
    first_ = static_cast<const __m512i*>(side) + t / kRows * to_second_ + c / kPanelBlock * kRows;
  }
  bool has(std::int64_t i) const { return i < there_; }
  Widened operator()(std::int64_t i) const {
    constexpr std::int64_t kAhead = 4 * kRows;
    const __m512i* line = first_ + i % kRows + (i < kRows ? 0 : to_second_);
    _mm_prefetch(reinterpret_cast<const char*>(line + kAhead), _MM_HINT_T0);
    return widened(_mm512_load_si512(line));
  }

 private:
  const __m512i* first_;
  std::int64_t to_second_, there_;
};

inline void make_logit_lefts(const LogitLeftsArgs& a) {
  for_blocks(a.row_begin, a.row_end, a.columns, [&](std::int64_t t, std::int64_t c) {
    const BlockLines logits(a.logits, a.rows, a.columns, t, c);
    Halves d;
    for (std::int64_t i = 0; i < 2 * kRows; ++i) {
      d.of[i][0] = d.of[i][1] = _mm512_setzero_si512();
      if (!logits.has(i)) continue;
      const Widened x = logits(i);
      d.of[i][0] = logit_gradients(a, x.first, t + i, c);
      d.of[i][1] = logit_gradients(a, x.second, t + i, c + kRows);
    }
    put_left_tiles({a.logits, a.transposed, a.rows, a.columns}, t, c,
                   [&](std::int64_t i, std::int64_t k) { return d.of[i][k]; });
  });
}

// --- gated layers

/// silu(gate) * up of 16 numbers.
inline __m512 gated(__m512 gate, __m512 up) {
  return gated_gradients<TrainVector>(gate, up, _mm512_setzero_ps()).out;
}

inline void make_gated_left(const GatedLeftArgs& a) {
  const std::int64_t blocks = a.columns / kPanelBlock;
  for (std::int64_t first = a.row_begin; first < a.row_end; first += kRows) {
    const std::int64_t begin = first / kRows * blocks * kRows;
    for (std::int64_t at = begin; at < begin + blocks * kRows; ++at) {
      __m512i v = _mm512_setzero_si512();
      if (first + at % kRows < a.row_end) {
        const auto *gates = static_cast<const __m512i*>(a.gates) + at,
                   *ups = static_cast<const __m512i*>(a.ups) + at;
        _mm_prefetch(reinterpret_cast<const char*>(gates + 4 * kRows), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(ups + 4 * kRows), _MM_HINT_T0);
        const Widened gate = widened(_mm512_load_si512(gates)), up = widened(_mm512_load_si512(ups));
        v = paired(gated(gate.first, up.first), gated(gate.second, up.second));
      }
      _mm512_stream_si512(static_cast<__m512i*>(a.out) + at, v);
    }
  }
  _mm_sfence();
}

struct GatedHalves {
  Halves d_gates, d_ups, out;
};

inline void compute_gated(const GatedLeftsArgs& a, std::int64_t t, std::int64_t c, GatedHalves& to) {
  const BlockLines gates(a.gates, a.rows, a.columns, t, c), ups(a.ups, a.rows, a.columns, t, c),
      ds(a.d, a.rows, a.columns, t, c);
  const auto put = [&](std::int64_t i, std::int64_t k, __m512 gate, __m512 up, __m512 d) {
    const GatedGradients<TrainVector> of = gated_gradients<TrainVector>(gate, up, d);
    to.d_gates.of[i][k] = rounded(of.d_gate);
    to.d_ups.of[i][k] = rounded(of.d_up);
    to.out.of[i][k] = rounded(of.out);
  };
  for (std::int64_t i = 0; i < 2 * kRows; ++i) {
    if (!gates.has(i)) {
      for (std::int64_t k = 0; k < 2; ++k)
        to.d_gates.of[i][k] = to.d_ups.of[i][k] = to.out.of[i][k] = _mm512_setzero_si512();
      continue;
    }
    const Widened gate = gates(i), up = ups(i), d = ds(i);
    put(i, 0, gate.first, up.first, d.first);
    put(i, 1, gate.second, up.second, d.second);
  }
}

inline void make_gated_lefts(const GatedLeftsArgs& a) {
  for_blocks(a.row_begin, a.row_end, a.columns, [&](std::int64_t t, std::int64_t c) {
    GatedHalves of;
    compute_gated(a, t, c, of);
    put_left_tiles({a.gates, a.gates_transposed, a.rows, a.columns}, t, c,
                   [&](std::int64_t i, std::int64_t k) { return of.d_gates.of[i][k]; });
    put_left_tiles({a.ups, a.ups_transposed, a.rows, a.columns}, t, c,
                   [&](std::int64_t i, std::int64_t k) { return of.d_ups.of[i][k]; });
    for (std::int64_t k = 0; k < 2; ++k) {
      auto* right =
          static_cast<__m512i*>(a.right) + ((c / kRows + k) * blocks_of(a.rows) + t / kPanelBlock) * kRows;
      for (std::int64_t i = 0; i < kRows; ++i) {
        _mm512_stream_si512(right + i,
                            _mm512_or_si512(of.out.of[i][k], _mm512_slli_epi32(of.out.of[i + kRows][k], 16)));
      }
    }
  });
}

}  // namespace
}  // namespace tw::kernels
