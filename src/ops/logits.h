// Logits a few rows at a time: what losses and choices over a vocabulary are made of. For src/ops alone.
#pragma once

#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {

/// Rows whose logits exist at a time: some 256 MiB of them. Each piece adds to all of the weight's gradient.
inline std::int64_t logit_rows(std::int64_t rows, std::int64_t vocab) {
  constexpr std::int64_t kLogits = std::int64_t{64} << 20;
  return std::min(rows, std::clamp<std::int64_t>(kLogits / vocab / 64 * 64, 64, 1024));
}

inline Tensor rows_of(Tensor x, std::int64_t begin, std::int64_t count) {
  const std::int64_t width = x.row_stride();
  return {DType::kF32, {count, width}, x.data == nullptr ? nullptr : x.f32() + begin * width};
}

/// Calls f(begin, logits [count, V]) for rows [begin, begin + count) of x, one piece after the other, when
/// the piece's logits are complete. Whoever changes them ends with a barrier.
template <typename F>
void for_logits(Exec& ex, Tensor x, const PackedMatrix& weight, F&& f) {
  const tensor::Arena::Scope scope(ex.arena());
  const std::int64_t rows = x.rows(), most = logit_rows(rows, weight.n());
  const Tensor all = ex.temporary({most, weight.n()});
  for (std::int64_t begin = 0; begin < rows; begin += most) {
    const tensor::Arena::Scope piece(ex.arena());
    Tensor logits = all;
    logits.shape = {std::min(most, rows - begin), weight.n()};
    const Prepared prepared = prepare(ex, rows_of(x, begin, logits.rows()), weight, 0);
    matmul_slice(ex, prepared, weight, logits.f32(), nullptr, nullptr);
    if (!ex.tracing()) ex.barrier();
    f(begin, logits);
  }
}

/// Gradients of a piece's input and of the weight, of those by its logits; d_x is that of all rows, if it is
/// wanted.
inline void logit_gradients(const Backward& b, Tensor x, const PackedMatrix& weight, std::int64_t begin,
                            const OutputGradient& y) {
  const std::int64_t rows = y.d_y.rows();
  add_weight_gradient(b, y, transpose_learnt(b, rows_of(x, begin, rows), {&weight}), weight);
  if (!b.wants()) return;
  Tensor d_x = b.d_in();
  d_x.shape = x.shape;
  input_gradient(b, y, weight, rows_of(d_x, begin, rows), b.adds());
}
/// The same of d_logits in fp32.
inline void logit_gradients(const Backward& b, Tensor x, const PackedMatrix& weight, std::int64_t begin,
                            Tensor d_logits) {
  logit_gradients(b, x, weight, begin,
                  b.wants() ? both_sides(b, d_logits, weight) : OutputGradient(d_logits));
}

}  // namespace tw::ops
