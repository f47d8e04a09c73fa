#include <algorithm>
#include <cmath>
#include <utility>

#include "train/optimizer_rules.h"

namespace tw::train {
namespace {

using ops::Tensor;

/// Of the iteration X = a X + (b G + c G²) X, G = X Xᵀ: it drives all singular values of X near 1.
constexpr float kA = 3.4445F, kB = -4.7750F, kC = 2.0315F;
constexpr int kIterations = 5;

/// x · Wᵀ, of a W [n, k] that is given in fp32, or by its transpose.
Tensor product(const OptimizerStep& step, Tensor x, Tensor w, bool transposed) {
  ops::Exec& ex = step.ex;
  const std::int64_t rows = w.rows(), columns = w.row_stride();
  const tensor::PackedMatrix matrix =
      step.params.formed(ex, w.f32(), transposed ? columns : rows, transposed ? rows : columns, transposed);
  if (!ex.tracing()) ex.barrier();
  return ops::linear(ex, x, matrix, 0);
}

/// Calls f(index) for each element in this worker's part, then waits for the others.
template <typename F>
void for_all(ops::Exec& ex, std::int64_t count, F&& f) {
  if (ex.tracing()) return;
  ex.slice(count, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i);
  });
  ex.barrier();
}

void iterate(const OptimizerStep& step, Tensor x) {
  ops::Exec& ex = step.ex;
  const tensor::Arena::Scope scope(ex.arena());
  const std::int64_t n = x.rows();
  const Tensor gram = product(step, x, x, false);
  const Tensor mixed = ex.temporary({n, n});
  for_all(ex, n * n, [&](std::int64_t i) {  // i % (n + 1) is 0 on the diagonal
    mixed.f32()[i] = kC * gram.f32()[i] + (i % (n + 1) == 0 ? kB : 0);
  });
  const Tensor polynomial = product(step, gram, mixed, false);  // both are symmetric
  for_all(ex, n, [&](std::int64_t i) { polynomial.f32()[i * (n + 1)] += kA; });
  const Tensor next = product(step, polynomial, x, true);
  for_all(ex, n * x.row_stride(), [&](std::int64_t i) { x.f32()[i] = next.f32()[i]; });
}

/// out [columns, rows] from in [rows, columns].
void transpose(ops::Exec& ex, const float* in, std::int64_t rows, std::int64_t columns, float* out) {
  if (ex.tracing()) return;
  ex.slice(columns, 16, [&](std::int64_t begin, std::int64_t end) {
    ex.table().train.transpose({in, columns, rows, begin, end, out, rows, base::DType::kF32});
  });
  ex.barrier();
}

/// The gradient becomes the momentum as Nesterov takes it, one long.
void take_momentum(const OptimizerStep& step, const OptimizerParam& p) {
  constexpr double kShortest = 1e-7;
  ops::Exec& ex = step.ex;
  if (ex.tracing()) return;
  const auto keep = static_cast<float>(step.options.momentum);
  const float take = (1 - keep) * step.gradient_scale;
  float *momentum = p.state[0].data(), *g = p.gradient.data();
  for_all(ex, p.param.elements(), [&](std::int64_t i) {
    momentum[i] = keep * momentum[i] + take * g[i];
    g[i] = keep * momentum[i] + take * g[i];
  });
  const double length = std::sqrt(square_sum(ex, p.gradient, step.sums));
  const auto scale = static_cast<float>(1 / std::max(kShortest, length));
  for_all(ex, p.param.elements(), [&](std::int64_t i) { g[i] *= scale; });
}

}  // namespace

void muon_update(const OptimizerStep& step, const OptimizerParam& p) {
  if (!is_hidden(p.param)) return adamw_update(step, p);
  ops::Exec& ex = step.ex;
  const std::int64_t rows = p.param.shape[0], columns = p.param.shape[1];
  take_momentum(step, p);
  float* g = p.gradient.data();
  Tensor x{base::DType::kF32, {rows, columns}, g};
  const bool tall = rows > columns;  // the smaller product is taken
  if (tall) {
    x = ex.temporary({columns, rows});
    transpose(ex, g, rows, columns, x.f32());
  }
  for (int i = 0; i < (ex.tracing() ? 1 : kIterations); ++i) iterate(step, x);
  if (tall) transpose(ex, x.f32(), columns, rows, g);
  constexpr double kAsAdamW = 0.2;
  const auto move =
      static_cast<float>(step.rate * kAsAdamW * std::sqrt(static_cast<double>(std::max(rows, columns))));
  for_all(ex, p.param.elements(), [&](std::int64_t i) { p.weight[i] = p.keep * p.weight[i] - move * g[i]; });
}

}  // namespace tw::train
