#include "ops/distillation.h"
#include "ops/logits.h"

namespace tw::ops {
namespace {

/// The losses of rows from `begin` on, whose logits become gradients when training.
void run_rows(Exec& ex, const LossRows& rows, std::int64_t begin, Tensor logits, Tensor losses) {
  if (ex.training() && rows.teacher.top > 0) {
    distil(ex, rows, begin, logits, losses.f32());
  } else if (!ex.tracing()) {
    const float* weights = ex.training() ? rows.weights.data() + begin : nullptr;
    ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
      ex.table().train.cross_entropy({logits.f32(), rows.targets.data() + begin, weights,
                                      losses.f32() + begin, first, last, logits.row_stride(), rows.scale,
                                      rows.z_loss});
    });
  }
  if (!ex.tracing()) ex.barrier();
}

struct SavedLoss {
  Tensor x, losses;
  const PackedMatrix* weight;
  LossRows rows;
};

/// The losses themselves are computed here too, so that logits are made once.
void cross_entropy_backward(const Backward& b, const SavedLoss& s) {
  for_logits(b.ex, s.x, *s.weight, [&](std::int64_t begin, Tensor logits) {
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
