// The expert that every row takes beside those that it is sent to: a gated feed-forward layer, of which a
// sigmoid of the row says how much it counts (Qwen2-MoE).
#include <cmath>

#include "ops/dot.h"
#include "ops/gated_ffn.h"
#include "ops/linear.h"

namespace tw::ops {
namespace {

float sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

struct SavedShare {
  Tensor x, share, made;  ///< [T, D], [D], [T, D]
  Tensor shares;          ///< the sigmoids: [T]
};

/// Of out = residual + sigmoid(x · share) * made, whose inputs are the residual, made and x.
void share_backward(const Backward& b, const SavedShare& s) {
  Exec& ex = b.ex;
  const std::int64_t rows = s.x.rows(), width = s.x.row_stride();
  const Tensor d_logits = ex.temporary({rows});
  if (ex.tracing()) {
    const auto elements = static_cast<double>(rows * width);
    return ex.record(rows_cost("share_backward", 3 * elements, 2 * elements));
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *d_row = b.d_out().f32() + t * width, share = s.shares.f32()[t];
      const float d_logit = share * (1 - share) * dot(d_row, s.made.f32() + t * width, width);
      d_logits.f32()[t] = d_logit;
      const auto add = [&](int input, float by, const float* what) {
        if (!b.wants(input)) return;
        float* to = b.d_in(input).f32() + t * width;
        for (std::int64_t i = 0; i < width; ++i) to[i] = by * what[i] + (b.adds(input) ? to[i] : 0);
      };
      add(1, share, d_row);
      add(2, d_logit, s.share.f32());
    }
  });
  ex.barrier();
  const Tensor gradient = b.d_leaf(s.share.tape_id);
  if (gradient.shape.rank() > 0) {
    ex.slice(width, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = 0; t < rows; ++t) {
        const float by = d_logits.f32()[t], *row = s.x.f32() + t * width;
        for (std::int64_t i = begin; i < end; ++i) gradient.f32()[i] += by * row[i];
      }
    });
    ex.barrier();
  }
  pass_gradient(b);
}

/// out = residual + sigmoid(x · share) * made.
void add_share(Exec& ex, Tensor x, Tensor share, Tensor made, Tensor residual, Tensor out) {
  const std::int64_t rows = x.rows(), width = x.row_stride();
  const tensor::Arena::Scope kept(ex.arena(), ex.training());
  const Tensor shares = ex.temporary({rows});
  if (ex.tracing()) {
    const auto elements = static_cast<double>(rows * width);
    ex.record(rows_cost("share", 3 * elements, elements));
  } else {
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const float by = sigmoid(dot(x.f32() + t * width, share.f32(), width));
        shares.f32()[t] = by;
        const float *from = residual.f32() + t * width, *more = made.f32() + t * width;
        for (std::int64_t i = 0; i < width; ++i) out.f32()[t * width + i] = from[i] + by * more[i];
      }
    });
    ex.barrier();
  }
  if (Tape* tape = ex.recording())
    tape->record<share_backward>(SavedShare{x, share, made, shares}, {out}, {residual, made, x}, true);
}

}  // namespace

void shared_ffn(Exec& ex, Tensor x, const SharedExpert& e, std::int64_t generated, Tensor residual,
                Tensor out, const Adapters& adapters) {
  TW_CHECK(residual.shape == out.shape, "a residual has the wrong shape");
  const bool whole = e.share.shape.rank() == 0;
  const tensor::Arena::Scope kept(ex.arena(), ex.training());
  const Tensor made = whole ? out : ex.output(out.shape);
  run_gated_ffn(ex, x, *e.gate, *e.up, *e.down, generated, whole ? residual : Tensor{}, made, adapters);
  if (ex.tracing()) record_gated_ffn(ex, "shared_ffn", x.rows(), *e.gate, *e.up, *e.down);
  if (!whole) add_share(ex, x, e.share, made, residual, out);
}

}  // namespace tw::ops
