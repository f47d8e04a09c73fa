// The gradients of a mixture of experts. Which experts are chosen has none; how much a chosen one counts has.
// One expert after the other, as a training step has many rows for each.
#include <cmath>
#include <cstring>

#include "ops/dot.h"
#include "ops/experts.h"
#include "ops/linear.h"

namespace tw::ops {
namespace {

Tensor rows_of(Tensor all, const ExpertRows& e) {
  const std::int64_t width = all.row_stride();
  return {DType::kF32, {e.rows, width}, all.data == nullptr ? nullptr : all.f32() + e.begin * width};
}

/// Rows of x, so that an expert's lie together. Ends with a barrier.
Tensor gathered(Exec& ex, const SavedExperts& s, const ExpertRows& e) {
  const std::int64_t width = s.x.row_stride();
  const Tensor rows = ex.temporary({e.rows, width});
  if (ex.tracing()) return rows;
  ex.slice(e.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* from = s.x.f32() + s.routing.row[e.begin + i] * width;
      std::memcpy(rows.f32() + i * width, from, width * sizeof(float));
    }
  });
  ex.barrier();
  return rows;
}

/// What a worker computes the gradients of rows with.
struct RowMemory {
  double* weights;  ///< [chosen]: gradients by the weights of a row's experts
  double* softmax;  ///< [experts]: of a row's logits
  double* pull;     ///< [experts]: what Tape::Balance adds to the gradient by an expert's probability; null:
                    ///< nothing

  static std::size_t bytes(const Routing& r) { return (r.chosen + 2 * r.experts) * sizeof(double); }
  RowMemory(const Tape::Balance& balance, const Routing& r, void* memory)
      : weights(static_cast<double*>(memory)),
        softmax(weights + r.chosen),
        pull(balance.weight == 0 ? nullptr : softmax + r.experts) {
    if (pull == nullptr) return;
    const auto rows = static_cast<double>(balance.rows);
    for (std::int64_t e = 0; e < r.experts; ++e) {
      const auto taken = static_cast<double>(balance.taken[static_cast<std::size_t>(e)]);
      pull[e] = balance.weight * static_cast<double>(r.experts) * taken / rows / rows;
    }
  }
};

/// Of all experts of row t.
void compute_softmax(const SavedExperts& s, std::int64_t t, double* softmax) {
  const Routing& r = s.routing;
  const float* logits = s.logits.f32() + t * r.experts;
  const auto largest = static_cast<double>(logits[r.expert[t * r.chosen]]);
  double sum = 0;
  for (std::int64_t e = 0; e < r.experts; ++e) {
    softmax[e] = std::exp(double{logits[e]} - largest);
    sum += softmax[e];
  }
  for (std::int64_t e = 0; e < r.experts; ++e) softmax[e] /= sum;
}

/// d_logits of row t by the weights of its experts, and by Tape::Balance.
void logit_gradients(const SavedExperts& s, std::int64_t t, const RowMemory& m, float* d_logits) {
  const Routing& r = s.routing;
  const std::int64_t first = t * r.chosen;
  const bool normed = s.weights.normed;
  if (!normed || m.pull != nullptr) compute_softmax(s, t, m.softmax);
  double mean = 0;
  for (std::int64_t i = 0; i < r.chosen; ++i) mean += double{r.weight[first + i]} * m.weights[i];
  std::fill(d_logits, d_logits + r.experts, 0.0F);
  if (!normed) {  // all logits are in the sum that each weight is divided by
    for (std::int64_t e = 0; e < r.experts; ++e) d_logits[e] = static_cast<float>(-m.softmax[e] * mean);
  }
  for (std::int64_t i = 0; i < r.chosen; ++i) {
    const double own = normed ? m.weights[i] - mean : m.weights[i];
    d_logits[r.expert[first + i]] += static_cast<float>(double{r.weight[first + i]} * own);
  }
  if (m.pull == nullptr) return;
  double pulled = 0;
  for (std::int64_t e = 0; e < r.experts; ++e) pulled += m.softmax[e] * m.pull[e];
  for (std::int64_t e = 0; e < r.experts; ++e)
    d_logits[e] += static_cast<float>(m.softmax[e] * (m.pull[e] - pulled));
}

/// The router's gradient [T, experts]; what the experts made becomes the gradient by it. Ends with a barrier.
Tensor weigh_gradient(const Backward& b, const SavedExperts& s, Tensor d_out) {
  Exec& ex = b.ex;
  const Routing& r = s.routing;
  const std::int64_t width = d_out.row_stride();
  const Tensor d_logits = ex.temporary(s.logits.shape);
  void* scratch = ex.scratch(RowMemory::bytes(r));
  if (ex.tracing()) return d_logits;
  const RowMemory memory(b.balance(), r, scratch);
  ex.slice(r.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* d_row = d_out.f32() + t * width;
      for (std::int64_t i = 0; i < r.chosen; ++i) {
        memory.weights[i] = 0;
        if (r.slot[t * r.chosen + i] < 0) continue;
        float* made = s.made.f32() + r.slot[t * r.chosen + i] * width;
        memory.weights[i] = static_cast<double>(dot(d_row, made, width));
        const float weight = r.weight[t * r.chosen + i];
        for (std::int64_t c = 0; c < width; ++c) made[c] = weight * d_row[c];
      }
      logit_gradients(s, t, memory, d_logits.f32() + t * r.experts);
    }
  });
  ex.barrier();
  return d_logits;
}

/// The gradients of one expert; those by its rows take the place of those by what it made.
void expert_gradients(const Backward& b, const SavedExperts& s, const ExpertRows& e) {
  Exec& ex = b.ex;
  const tensor::Arena::Scope scope(ex.arena());
  const auto number = static_cast<std::size_t>(e.expert);
  const PackedMatrix &gate = *s.weights.gates[number], &up = *s.weights.ups[number],
                     &down = *s.weights.downs[number];
  const Tensor d_rows = rows_of(s.made, e), gates = rows_of(s.gates, e), ups = rows_of(s.ups, e),
               hidden = ex.temporary(gates.shape);
  input_gradient(b, d_rows, down, hidden, false);
  if (!ex.tracing()) {
    ex.slice(hidden.shape.elements(), 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.silu_mul_backward({gates.f32(), ups.f32(), hidden.f32(), begin, end});
    });
    ex.barrier();
  }
  {
    const tensor::Arena::Scope learnt(ex.arena());
    add_weight_gradient(b, d_rows, transpose_learnt(b, hidden, {&down}), down);
  }
  const TransposedInput x = transpose_learnt(b, gathered(ex, s, e), {&gate, &up});
  add_weight_gradient(b, gates, x, gate);
  add_weight_gradient(b, ups, x, up);
  if (!b.wants(1)) return;
  input_gradient(b, gates, gate, d_rows, false);
  input_gradient(b, ups, up, d_rows, true);
}

/// Each row's sum of its experts' gradients. Ends with a barrier.
void add_up(const Backward& b, const SavedExperts& s) {
  Exec& ex = b.ex;
  if (ex.tracing()) return;
  const Routing& r = s.routing;
  const std::int64_t width = s.x.row_stride();
  ex.slice(r.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* sum = b.d_in(1).f32() + t * width;
      if (!b.adds(1)) std::fill(sum, sum + width, 0.0F);
      for (std::int64_t at = t * r.chosen; at < (t + 1) * r.chosen; ++at) {
        if (r.slot[at] >= 0) ex.table().train.add({s.made.f32() + r.slot[at] * width, sum, 0, width});
      }
    }
  });
  ex.barrier();
}

}  // namespace

void experts_backward(const Backward& b, const SavedExperts& s) {
  Exec& ex = b.ex;
  const PackedMatrix& router = *s.weights.router;
  const Tensor d_out{DType::kF32, s.x.shape, b.d_out().data};
  const Tensor d_logits = weigh_gradient(b, s, d_out);
  if (ex.tracing()) {  // the worst: all rows take one
    for (std::int64_t e = 0; e < s.routing.experts; ++e)
      expert_gradients(b, s, {e, true, 0, s.routing.most_rows(), 0});
  } else {
    s.routing.each([&](const ExpertRows& e) { expert_gradients(b, s, e); });
  }
  const tensor::Arena::Scope scope(ex.arena());
  add_weight_gradient(b, d_logits, transpose_learnt(b, s.x, {&router}), router);
  if (b.wants(1)) {
    add_up(b, s);
    input_gradient(b, d_logits, router, b.d_in(1), true);
  }
  pass_gradient(b);
}

}  // namespace tw::ops
