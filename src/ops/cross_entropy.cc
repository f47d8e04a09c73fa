#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows whose logits exist at a time: some 64 MiB of them.
std::int64_t rows_at_once(std::int64_t rows, std::int64_t vocab) {
  constexpr std::int64_t kLogits = std::int64_t{16} << 20;
  return std::min(rows, std::clamp<std::int64_t>(kLogits / vocab / 64 * 64, 64, 1024));
}

Tensor rows_of(Tensor x, std::int64_t begin, std::int64_t count) {
  const std::int64_t width = x.row_stride();
  return {DType::kF32, {count, width}, x.data == nullptr ? nullptr : x.f32() + begin * width};
}

/// The losses of rows [begin, begin + count), and their logits, which become gradients when training.
void run_rows(Exec& ex, Tensor x, const PackedMatrix& weight, const LossRows& rows, std::int64_t begin,
              Tensor logits, Tensor losses) {
  const tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, rows_of(x, begin, logits.rows()), weight, 0);
  matmul_slice(ex, prepared, weight, logits.f32(), nullptr, nullptr);
  if (ex.tracing()) return;
  ex.barrier();
  const float* weights = ex.training() ? rows.weights.data() + begin : nullptr;
  ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
    ex.table().train.cross_entropy({logits.f32(), rows.targets.data() + begin, weights, losses.f32() + begin,
                                    first, last, weight.n(), rows.scale, rows.z_loss});
  });
  ex.barrier();
}

struct SavedLoss {
  Tensor x, losses;
  const PackedMatrix* weight;
  LossRows rows;
};

/// The losses themselves are computed here too, so that logits are made once.
void cross_entropy_backward(const Backward& b, const SavedLoss& s) {
  const std::int64_t rows = s.x.rows(), vocab = s.weight->n(), most = rows_at_once(rows, vocab);
  Tensor d_x = b.wants() ? b.d_in() : Tensor{};
  for (std::int64_t begin = 0; begin < rows; begin += most) {
    const tensor::Arena::Scope scope(b.ex.arena());
    const std::int64_t count = std::min(most, rows - begin);
    const Tensor logits = b.ex.temporary({count, vocab});
    run_rows(b.ex, s.x, *s.weight, s.rows, begin, logits, s.losses);
    add_weight_gradient(b, logits, transpose_learnt(b, rows_of(s.x, begin, count), {s.weight}), *s.weight);
    if (!b.wants()) continue;
    d_x.shape = s.x.shape;
    input_gradient(b, logits, *s.weight, rows_of(d_x, begin, count), b.adds());
  }
}

}  // namespace

Tensor linear_cross_entropy(Exec& ex, Tensor x, const PackedMatrix& weight, const LossRows& rows) {
  TW_CHECK(ex.tracing() || (std::ssize(rows.targets) == x.rows() && std::ssize(rows.weights) == x.rows()),
           "each row has a target and a weight");
  const Tensor losses = ex.temporary({x.rows()});
  if (ex.tracing()) ex.record(linear_cost("linear_cross_entropy", x.rows(), weight));
  if (ex.training()) {
    if (Tape* tape = ex.recording())
      tape->record<cross_entropy_backward>(SavedLoss{x, losses, &weight, rows}, {}, {x});
    return losses;
  }
  const tensor::Arena::Scope scope(ex.arena());
  const std::int64_t most = rows_at_once(x.rows(), weight.n());
  const Tensor logits = ex.temporary({most, weight.n()});
  for (std::int64_t begin = 0; begin < x.rows(); begin += most) {
    Tensor part = logits;
    part.shape = {std::min(most, x.rows() - begin), weight.n()};
    run_rows(ex, x, weight, rows, begin, part, losses);
  }
  return losses;
}

}  // namespace tw::ops
