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

/// Logits that are rounded as they are made: a left side that becomes the gradients' own.
class RoundedLogits {
 public:
  RoundedLogits(const Backward& b, bool learnt, const SavedLoss& s)
      : b_(b), matmul_(*b.ex.table().train_matmul), learnt_(learnt), s_(s) {}

  /// Losses of rows [begin, begin + count), and what comes of them.
  void run(std::int64_t begin, std::int64_t count) const {
    Exec& ex = b_.ex;
    const tensor::Arena::Scope scope(ex.arena());
    const std::int64_t vocab = s_.weight->n();
    const LeftSides sides(ex, matmul_, count, vocab, learnt_);
    auto* gradients = reinterpret_cast<kernels::LogitGradient*>(
        ex.arena().allocate(static_cast<std::size_t>(count) * sizeof(kernels::LogitGradient)));
    {
      const tensor::Arena::Scope prepared(ex.arena());
      const Prepared x = prepare(ex, rows_of(s_.x, begin, count), *s_.weight, 0);
      rounded_matmul_slice(ex, x, *s_.weight, static_cast<std::byte*>(sides.as_is));
    }
    if (!ex.tracing()) make_gradients(begin, count, sides, gradients);
    OutputGradient y(Tensor{DType::kF32, {count, vocab}, nullptr});
    y.as_is = sides.as_is, y.transposed = sides.transposed, y.in_company = learnt_;
    logit_gradients(b_, s_.x, *s_.weight, begin, y);
    if (!ex.tracing()) ex.barrier();
  }

 private:
  void make_gradients(std::int64_t begin, std::int64_t count, const LeftSides& sides,
                      kernels::LogitGradient* gradients) const {
    Exec& ex = b_.ex;
    const LossRows& rows = s_.rows;
    const std::int64_t vocab = s_.weight->n();
    const std::int32_t* targets = rows.targets.data() + begin;
    ex.barrier();
    ex.slice(count, 32, [&](std::int64_t first, std::int64_t last) {
      matmul_.rounded_loss({sides.as_is, targets, rows.weights.data() + begin, s_.losses.f32() + begin, first,
                            last, vocab, rows.scale, rows.z_loss, gradients});
      matmul_.make_logit_lefts(
          {sides.as_is, sides.transposed, count, vocab, gradients, targets, first, last});
    });
    ex.barrier();
  }

  const Backward& b_;
  const kernels::TrainMatmul& matmul_;
  bool learnt_;  ///< the weight is; else it is frozen
  const SavedLoss& s_;
};

/// The losses themselves are computed here too, so that logits are made once.
void cross_entropy_backward(const Backward& b, const SavedLoss& s) {
  const bool learnt = both_sides_of(b.ex, *s.weight) != nullptr;
  if (s.rows.teacher.top == 0 && (learnt || (s.rows.rounded && rounds_frozen(b.ex, *s.weight)))) {
    const RoundedLogits logits(b, learnt, s);
    const std::int64_t rows = s.x.rows(), most = logit_rows(rows, s.weight->n());
    for (std::int64_t begin = 0; begin < rows; begin += most) logits.run(begin, std::min(most, rows - begin));
    return;
  }
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
