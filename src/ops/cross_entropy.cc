#include "ops/distillation.h"
#include "ops/logits.h"

namespace tw::ops {
namespace {

/// The losses of rows from `begin` on, whose logits become gradients when training, or with `gradients` say
/// what these are made of.
void run_rows(Exec& ex, const LossRows& rows, std::int64_t begin, Tensor logits, Tensor losses,
              kernels::LogitGradient* gradients = nullptr) {
  if (ex.training() && rows.teacher.top > 0) {
    distil(ex, rows, begin, logits, losses.f32());
  } else if (!ex.tracing()) {
    const float* weights = ex.training() ? rows.weights.data() + begin : nullptr;
    ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
      ex.table().train.cross_entropy({logits.f32(), rows.targets.data() + begin, weights,
                                      losses.f32() + begin, first, last, logits.row_stride(), rows.scale,
                                      rows.z_loss, gradients});
    });
  }
  if (!ex.tracing()) ex.barrier();
}

struct SavedLoss {
  Tensor x, losses;
  const PackedMatrix* weight;
  LossRows rows;
};

/// Straight from logits to the sides of the products with their gradients.
OutputGradient gradient_sides(const Backward& b, const kernels::TrainMatmul& matmul, const SavedLoss& s,
                              std::int64_t begin, Tensor logits) {
  Exec& ex = b.ex;
  const std::int64_t rows = logits.rows(), vocab = logits.row_stride();
  auto* gradients = reinterpret_cast<kernels::LogitGradient*>(
      ex.arena().allocate(static_cast<std::size_t>(rows) * sizeof(kernels::LogitGradient)));
  const LeftSides sides(ex, matmul, rows, vocab);
  run_rows(ex, s.rows, begin, logits, s.losses, gradients);
  if (!ex.tracing()) {
    ex.slice(vocab, 32, [&](std::int64_t first, std::int64_t last) {
      matmul.make_logit_lefts({{logits.f32(), vocab, rows, vocab, sides.as_is, sides.transposed, first, last},
                               gradients,
                               s.rows.targets.data() + begin});
    });
    ex.barrier();
  }
  OutputGradient y(Tensor{DType::kF32, logits.shape, nullptr});
  y.as_is = sides.as_is, y.transposed = sides.transposed;
  return y;
}

/// The losses themselves are computed here too, so that logits are made once.
void cross_entropy_backward(const Backward& b, const SavedLoss& s) {
  const kernels::TrainMatmul* matmul =
      b.wants() && s.rows.teacher.top == 0 ? both_sides_of(b, *s.weight) : nullptr;
  for_logits(b.ex, s.x, *s.weight, [&](std::int64_t begin, Tensor logits) {
    if (matmul != nullptr)
      return logit_gradients(b, s.x, *s.weight, begin, gradient_sides(b, *matmul, s, begin, logits));
    run_rows(b.ex, s.rows, begin, logits, s.losses);
    logit_gradients(b, s.x, *s.weight, begin, logits);
  });
}

}  // namespace

Tensor linear_cross_entropy(Exec& ex, Tensor x, const PackedMatrix& weight, const LossRows& rows) {
  TW_CHECK(ex.tracing() || (std::ssize(rows.targets) == x.rows() && std::ssize(rows.weights) == x.rows()),
           "each row has a target and a weight");
  TW_CHECK(ex.tracing() || std::ssize(rows.teacher.ids) == x.rows() * rows.teacher.top,
           "the teacher has said something of each row");
  const Tensor losses = ex.temporary({x.rows()});
  if (ex.tracing()) ex.record(linear_cost("linear_cross_entropy", x.rows(), weight));
  if (ex.training()) {
    if (Tape* tape = ex.recording())
      tape->record<cross_entropy_backward>(SavedLoss{x, losses, &weight, rows}, {}, {x});
    return losses;
  }
  for_logits(ex, x, weight,
             [&](std::int64_t begin, Tensor logits) { run_rows(ex, rows, begin, logits, losses); });
  return losses;
}

}  // namespace tw::ops
