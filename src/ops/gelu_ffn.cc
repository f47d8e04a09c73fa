#include "ops/linear.h"
#include "ops/low_rank.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

struct SavedGelu {
  Tensor x, middle;  ///< middle: of the first product
  GeluWeights weights;
  SavedLowRank low_up, low_down;
};

/// What the forward left becomes gradients in place.
void gelu_ffn_backward(const Backward& b, const SavedGelu& s) {
  Exec& ex = b.ex;
  const PackedMatrix &up = *s.weights.up, &down = *s.weights.down;
  const std::int64_t rows = s.x.rows(), width = up.n();
  const Tensor d_y{DType::kF32, {rows, down.n()}, b.d_out().data}, hidden = ex.temporary({rows, width});
  const OutputGradient sides = both_sides(b, d_y, SavedLayer{down, {}, s.low_down}.learnt());
  input_gradient(b, sides, down, hidden, false);
  const Tensor d_low = low_rank_middle_gradient(b, sides, s.low_down);
  low_rank_input_gradient(b, d_low, s.low_down, hidden);
  if (!ex.tracing()) {
    ex.slice(rows * width, 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.gelu_backward({s.middle.f32(), hidden.f32(), begin, end});
    });
    ex.barrier();
  }
  {
    const tensor::Arena::Scope scope(ex.arena());
    const TransposedInput learnt = transpose_learnt(b, hidden, {&down, s.low_down.a_of_input()});
    add_weight_gradient(b, sides, learnt, down);
    add_bias_gradient(b, d_y, s.weights.down_bias);
    low_rank_weight_gradients(b, sides, d_low, hidden, learnt, s.low_down);
  }
  const Tensor d_middle{DType::kF32, {rows, width}, s.middle.data};
  const TransposedInput x = transpose_learnt(b, s.x, {&up, s.low_up.a_of_input()});
  linear_gradients(b, {{d_middle, {up, s.weights.up_bias, s.low_up}}}, s.x, x, 1, b.adds(1));
  pass_gradient(b);
}

/// to = gelu(from) of the rows of one phase, on the slices that its products had.
void activate(Exec& ex, const PackedMatrix& up, bool prompt, Tensor from, Tensor to, std::int64_t first,
              std::int64_t last) {
  if (first == last) return;
  ex.slice(up.n(), path_of(ex, up, prompt).slice_rows, [&](std::int64_t begin, std::int64_t end) {
    ex.table().gelu({from.f32(), to.f32(), first, last, begin, end, up.n()});
  });
}

}  // namespace

void gelu_ffn(Exec& ex, Tensor x, const GeluWeights& w, std::int64_t generated, Tensor residual, Tensor out,
              const Adapters& adapters) {
  TW_CHECK(w.up->n() == w.down->k(), "gelu_ffn: up and down have widths that do not fit");
  TW_CHECK(residual_fits(ex, residual, out, w.down->n()), "gelu_ffn: a residual has the wrong shape");
  tensor::Arena::Scope kept(ex.arena(), ex.training());
  const std::int64_t rows = x.rows();
  const Tensor middle = ex.temporary({rows, w.up->n()});
  LowRankSum low_up(ex, adapters, 0, 1, generated), low_down(ex, adapters, 1, 1, generated);
  tensor::Arena::Scope scope(ex.arena());
  // With a tape the product stays, and the activation lies beside it.
  const Tensor hidden = ex.training() ? ex.temporary(middle.shape) : middle;
  const Prepared for_up = prepare(ex, x, *w.up, generated);
  matmul_slice(ex, for_up, *w.up, middle.f32(), w.up_bias.f32(), nullptr);
  low_up.project(ex, x, for_up);
  if (!ex.tracing()) {
    // Products of sides may be cut along rows, and the activation is not.
    if (!low_up.empty() || sides_of(ex, *w.up) != nullptr) ex.barrier();
    low_up.add_all(ex, {middle});
    activate(ex, *w.up, false, middle, hidden, 0, generated);
    activate(ex, *w.up, true, middle, hidden, generated, rows);
    ex.barrier();
  }
  const Prepared for_down = prepare(ex, hidden, *w.down, generated);
  matmul_slice(ex, for_down, *w.down, out.f32(), w.down_bias.f32(), residual.f32());
  low_down.project(ex, hidden, for_down);
  if (!ex.tracing()) ex.barrier();
  low_down.add_all(ex, {out});
  if (Tape* tape = ex.recording())
    tape->record<gelu_ffn_backward>(SavedGelu{x, middle, w, low_up.saved(0), low_down.saved(0)}, {out},
                                    {residual, x}, true);
  if (!ex.tracing()) return;
  const auto elements = static_cast<double>(rows * w.up->n()),
             all = static_cast<double>(out.rows() * out.row_stride());
  ex.record(linear_cost("gelu_ffn", rows, *w.up));
  ex.record(rows_cost("gelu", elements, elements));
  ex.record(linear_cost("gelu_ffn", rows, *w.down));
  ex.record(rows_cost("residual", 2 * all, all));
}

}  // namespace tw::ops
