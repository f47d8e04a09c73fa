// Sides of products (sides.h) of what is computed on the way, so that it is never written down in fp32.
// Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/sides.h"
#include "kernels/avx512/train_vector.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

/// The gradients by 16 logits of a row from column c on.
inline __m512 logit_gradients(const LogitLeftsArgs& a, std::int64_t row, std::int64_t c) {
  const LogitGradient& g = a.gradients[row];
  const float* x = a.sides.x + row * a.sides.stride + c;
  ask_ahead(x);
  const __m512 shifted = _mm512_sub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(g.largest));
  const __m512 d = _mm512_mul_ps(TrainVector::exp(shifted), _mm512_set1_ps(g.scale));
  const std::int64_t at = a.targets[row] - c;
  if (at < 0 || at >= kRows) return d;
  return _mm512_mask_sub_ps(d, static_cast<__mmask16>(1U << at), d, _mm512_set1_ps(g.weight));
}

inline void make_logit_lefts(const LogitLeftsArgs& a) {
  const LeftSidesArgs& s = a.sides;
  for_blocks(s.rows, s.begin, s.end, [&](std::int64_t t, std::int64_t c) {
    put_left_tiles({s.as_is, s.transposed, s.rows, s.columns}, t, c, [&](std::int64_t i, std::int64_t k) {
      return t + i < s.rows ? rounded(logit_gradients(a, t + i, c + k * kRows)) : _mm512_setzero_si512();
    });
  });
}

/// silu(gate) * up of 16 numbers.
inline __m512i gated_halves(const float* gate, const float* up) {
  return rounded(
      gated_gradients<TrainVector>(_mm512_loadu_ps(gate), _mm512_loadu_ps(up), _mm512_setzero_ps()).out);
}

inline void make_gated_left(const GatedLeftArgs& a) {
  const std::int64_t blocks = blocks_of(a.columns);
  for (std::int64_t first = a.row_begin; first < a.row_end; first += kRows) {
    auto* out = static_cast<__m512i*>(a.out) + first / kRows * blocks * kRows;
    for (std::int64_t c = 0; c < a.columns; c += kPanelBlock) {
      for (std::int64_t row = first; row < first + kRows; ++row, ++out) {
        __m512i v = _mm512_setzero_si512();
        if (row < a.row_end) {
          const float *gate = a.gates + row * a.columns + c, *up = a.ups + row * a.columns + c;
          ask_ahead(gate), ask_ahead(gate + kRows), ask_ahead(up), ask_ahead(up + kRows);
          v = _mm512_or_si512(gated_halves(gate, up),
                              _mm512_slli_epi32(gated_halves(gate + kRows, up + kRows), 16));
        }
        _mm512_stream_si512(out, v);
      }
    }
  }
  _mm_sfence();
}

/// Of 32 by 32 numbers, 16 at a time, in the low halves of lanes.
struct GatedHalves {
  __m512i d_gates[2 * kRows][2], d_ups[2 * kRows][2], out[2 * kRows][2];
};

inline void compute_gated(const GatedLeftsArgs& a, std::int64_t t, std::int64_t c, GatedHalves& halves) {
  for (std::int64_t i = 0; i < 2 * kRows; ++i) {
    for (std::int64_t k = 0; k < 2; ++k) {
      if (t + i >= a.rows) {
        halves.d_gates[i][k] = halves.d_ups[i][k] = halves.out[i][k] = _mm512_setzero_si512();
        continue;
      }
      const std::int64_t at = (t + i) * a.columns + c + k * kRows;
      ask_ahead(a.gates + at), ask_ahead(a.ups + at), ask_ahead(a.d + at);
      const GatedGradients<TrainVector> of = gated_gradients<TrainVector>(
          _mm512_loadu_ps(a.gates + at), _mm512_loadu_ps(a.ups + at), _mm512_loadu_ps(a.d + at));
      halves.d_gates[i][k] = rounded(of.d_gate);
      halves.d_ups[i][k] = rounded(of.d_up);
      halves.out[i][k] = rounded(of.out);
    }
  }
}

inline void make_gated_lefts(const GatedLeftsArgs& a) {
  for_blocks(a.rows, a.begin, a.end, [&](std::int64_t t, std::int64_t c) {
    GatedHalves of;
    compute_gated(a, t, c, of);
    put_left_tiles({a.gates_as_is, a.gates_transposed, a.rows, a.columns}, t, c,
                   [&](std::int64_t i, std::int64_t k) { return of.d_gates[i][k]; });
    put_left_tiles({a.ups_as_is, a.ups_transposed, a.rows, a.columns}, t, c,
                   [&](std::int64_t i, std::int64_t k) { return of.d_ups[i][k]; });
    for (std::int64_t k = 0; k < 2; ++k) {
      auto* right =
          static_cast<__m512i*>(a.right) + ((c / kRows + k) * blocks_of(a.rows) + t / kPanelBlock) * kRows;
      for (std::int64_t i = 0; i < kRows; ++i) {
        _mm512_stream_si512(right + i,
                            _mm512_or_si512(of.out[i][k], _mm512_slli_epi32(of.out[i + kRows][k], 16)));
      }
    }
  });
}

}  // namespace
}  // namespace tw::kernels
