// A mixture of experts: all of them in a few passes over their rows, so that the barriers do not grow with
// their number and every worker has a part of each.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/experts.h"
#include "ops/input_squares.h"
#include "ops/linear.h"

namespace tw::ops {
namespace {

using Matrices = std::span<const PackedMatrix* const>;

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::size_t prepared_bytes(const kernels::MatmulPath& path, std::int64_t rows, std::int64_t k) {
  return path.prepare == nullptr ? 0 : aligned(path.prepared_bytes(rows, k));
}

/// This worker's part of an expert's columns: f(begin, end).
template <typename F>
void slice_columns(const Exec& ex, const Routing& routing, const ExpertRows& e, std::int64_t count,
                   std::int64_t grain, F&& f) {
  ex.slice_in_turn(e.number, *routing.used, count, grain, f);
}

/// The rows of all experts [T * chosen, K], and in the forms that products with their weights want.
class ExpertInputs {
 public:
  /// Takes memory from the arena, for rows that are divided among experts and phases in any way; `own`:
  /// whether forms are wanted at all.
  ExpertInputs(Exec& ex, const Routing& routing, Matrices weights, std::int64_t generated, Tensor plain,
               bool own = true)
      : ex_(ex), routing_(routing), weights_(weights), plain_(plain) {
    std::size_t bytes = 0;
    for (const bool prompt : {false, true}) {
      const std::int64_t of_phase = prompt ? routing.rows - generated : generated;
      bytes += most_bytes(
          prompt, std::min((ex.tracing() ? routing.rows : of_phase) * routing.chosen, routing.slots()));
    }
    prepared_ = ex.arena().allocate(own ? bytes : 0);
  }

  struct Place {
    std::byte* prepared;  ///< the form's memory
    const void* input;    ///< what the product reads: that, or the rows themselves
  };
  /// Goes through the places of the experts that have rows, in their order.
  class Walk {
   public:
    explicit Walk(const ExpertInputs& of) : of_(of), at_(of.prepared_) {}
    Place next(const ExpertRows& e) {
      const kernels::MatmulPath& path = of_.path(e);
      std::byte* here = at_;
      at_ += prepared_bytes(path, e.rows, of_.width());
      return {here, path.prepare == nullptr ? static_cast<const void*>(of_.rows_of(e)) : here};
    }

   private:
    const ExpertInputs& of_;
    std::byte* at_;
  };

  /// For the experts that `wanted` says: their rows of `from` [T, K], if there is such, and the form of them.
  /// No barrier. Returns whether there was anything to do.
  template <typename Wanted>
  bool make(const float* from, const Wanted& wanted) {
    std::int64_t all = 0;
    routing_.each([&](const ExpertRows& e) { all += wanted(e) ? blocks_of(e, from) : 0; });
    ex_.slice(all, 1, [&](std::int64_t begin, std::int64_t end) {
      Walk walk(*this);
      std::int64_t at = 0;
      routing_.each([&](const ExpertRows& e) {
        const Place place = walk.next(e);
        const std::int64_t blocks = wanted(e) ? blocks_of(e, from) : 0, grain = grain_of(e);
        const std::int64_t first = std::clamp<std::int64_t>(begin - at, 0, blocks) * grain,
                           last = std::clamp<std::int64_t>(end - at, 0, blocks) * grain;
        at += blocks;
        if (first < last) make_rows(e, from, first, std::min(last, e.rows), place.prepared);
      });
    });
    return all > 0;
  }

 private:
  const kernels::MatmulPath& path(const ExpertRows& e) const {
    return path_of(ex_, *weights_[e.expert], e.prompt);
  }
  std::int64_t width() const { return plain_.row_stride(); }
  float* rows_of(const ExpertRows& e) const { return plain_.f32() + e.begin * width(); }
  std::int64_t grain_of(const ExpertRows& e) const {
    return path(e).prepare == nullptr ? 1 : path(e).prepare_rows;
  }
  /// A path that takes rows as they are has nothing to do once they are there.
  std::int64_t blocks_of(const ExpertRows& e, const float* from) const {
    if (path(e).prepare == nullptr && from == nullptr) return 0;
    return (e.rows + grain_of(e) - 1) / grain_of(e);
  }

  void make_rows(const ExpertRows& e, const float* from, std::int64_t begin, std::int64_t end,
                 std::byte* prepared) const {
    const std::int64_t k = width();
    for (std::int64_t i = begin; i < end && from != nullptr; ++i)
      std::memcpy(rows_of(e) + i * k, from + routing_.row[e.begin + i] * k, k * sizeof(float));
    if (path(e).prepare != nullptr) path(e).prepare({rows_of(e), k, prepared, begin, end, k});
  }

  /// A form's bytes grow by blocks of rows: those of parts are at most those of the whole and a block for
  /// each.
  std::size_t most_bytes(bool prompt, std::int64_t slots) const {
    std::size_t all = 0, one = 0;
    for (const PackedMatrix* weight : weights_) {
      const kernels::MatmulPath& path = path_of(ex_, *weight, prompt);
      all = std::max(all, prepared_bytes(path, slots, width()));
      one = std::max(one, prepared_bytes(path, 1, width()));
    }
    return all + static_cast<std::size_t>(std::min(slots, routing_.experts)) * (one + 64);
  }

  Exec& ex_;
  const Routing& routing_;
  Matrices weights_;
  Tensor plain_;
  std::byte* prepared_;
};

/// Whether rows in the form for one weight serve the other too.
bool same_form(const Exec& ex, const PackedMatrix& a, const PackedMatrix& b, bool prompt) {
  return reads_alike(path_of(ex, a, prompt), path_of(ex, b, prompt));
}

bool same_forms(const Exec& ex, Matrices a, Matrices b) {
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (!same_form(ex, *a[e], *b[e], false) || !same_form(ex, *a[e], *b[e], true)) return false;
  }
  return true;
}

/// What the experts make of their rows, by what `s` has of x, weights and routing: `s.made`, and for its
/// gradients `s.gates` and `s.ups`.
class ExpertStep {
 public:
  ExpertStep(Exec& ex, const SavedExperts& s, std::int64_t generated)
      : ex_(ex),
        x_(s.x),
        w_(s.weights),
        routing_(s.routing),
        gates_(s.gates),
        ups_(s.ups),
        rows_(s.made),
        hidden_(ex.training() ? ex.temporary(gates_.shape) : gates_),
        for_gates_(ex, routing_, w_.gates, generated, rows_),
        for_ups_(ex, routing_, w_.ups, generated, rows_, !same_forms(ex, w_.gates, w_.ups)),
        for_downs_(ex, routing_, w_.downs, generated, hidden_) {
    if (!ex.tracing()) return;
    for (const Matrices weights : {w_.gates, w_.ups, w_.downs}) {
      for (const PackedMatrix* weight : weights) {
        for (const bool prompt : {false, true})
          scratch(path_of(ex, *weight, prompt), routing_.rows, weight->k());
      }
    }
  }

  /// Ends with a barrier.
  void run() {
    gather();
    multiply_gates_and_ups();
    if (ex_.observer() != nullptr) tell_observer(w_.downs, hidden_);
    if (for_downs_.make(nullptr, [&](const ExpertRows& e) { return !in_one_piece(e); })) ex_.barrier();
    ExpertInputs::Walk downs(for_downs_);
    routing_.each([&](const ExpertRows& e) {
      // Where the gathered rows were, which nobody reads any more.
      multiply(*w_.downs[e.expert], e, downs.next(e).input, rows_);
    });
    ex_.barrier();
  }

 private:
  bool in_one_piece(const ExpertRows& e) const {
    return e.prompt && !ex_.training() &&
           prompts_in_one_piece(ex_, *w_.gates[e.expert], *w_.ups[e.expert], *w_.downs[e.expert]);
  }
  bool one_input(const ExpertRows& e) const {
    return same_form(ex_, *w_.gates[e.expert], *w_.ups[e.expert], e.prompt);
  }
  void* scratch(const kernels::MatmulPath& path, std::int64_t rows, std::int64_t k) {
    return ex_.scratch(path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(rows, k));
  }

  /// Ends with a barrier.
  void gather() {
    for_gates_.make(x_.f32(), [](const ExpertRows&) { return true; });
    ex_.barrier();
    if (for_ups_.make(nullptr, [&](const ExpertRows& e) { return !one_input(e); })) ex_.barrier();
    if (ex_.observer() == nullptr) return;
    tell_observer(w_.gates, rows_);
    tell_observer(w_.ups, rows_);
  }

  void tell_observer(Matrices weights, Tensor rows) const {
    routing_.each([&](const ExpertRows& e) {
      float* first = rows.f32() + e.begin * rows.row_stride();
      ex_.observer()->add(ex_, {DType::kF32, {e.rows, rows.row_stride()}, first}, *weights[e.expert]);
    });
  }

  /// hidden_ = silu(x · Gᵀ) * (x · Uᵀ), or where it goes in one piece the form of that. Ends with a barrier.
  void multiply_gates_and_ups() {
    bool cut_alike = true;
    ExpertInputs::Walk gates(for_gates_), ups(for_ups_), downs(for_downs_);
    routing_.each([&](const ExpertRows& e) {
      const PackedMatrix &gate = *w_.gates[e.expert], &up = *w_.ups[e.expert];
      const ExpertInputs::Place x = gates.next(e), for_up = ups.next(e), down = downs.next(e);
      if (in_one_piece(e)) return multiply_in_one_piece(e, x.input, down.prepared);
      multiply(gate, e, x.input, gates_);
      multiply(up, e, one_input(e) ? x.input : for_up.input, ups_);
      cut_alike =
          cut_alike && path_of(ex_, gate, e.prompt).slice_rows == path_of(ex_, up, e.prompt).slice_rows;
    });
    if (!cut_alike) ex_.barrier();
    routing_.each([&](const ExpertRows& e) {
      if (!in_one_piece(e)) activate(e);
    });
    ex_.barrier();
  }

  void multiply(const PackedMatrix& weight, const ExpertRows& e, const void* x, Tensor out) {
    const kernels::MatmulPath& path = path_of(ex_, weight, e.prompt);
    void* own = scratch(path, e.rows, weight.k());
    const std::int64_t n = weight.n();
    slice_columns(ex_, routing_, e, n, path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      path.run({weight.type(), weight.data(), begin, end, n, weight.k(), x, e.rows, out.f32() + e.begin * n,
                n, nullptr, nullptr, own});
    });
  }

  void multiply_in_one_piece(const ExpertRows& e, const void* x, std::byte* out) {
    const PackedMatrix &gate = *w_.gates[e.expert], &up = *w_.ups[e.expert];
    const kernels::MatmulPath& path = path_of(ex_, gate, true);
    void* own = scratch(path, e.rows, gate.k());
    slice_columns(ex_, routing_, e, gate.n(), path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      path.run_gated({gate.data(), up.data(), begin, end, gate.n(), gate.k(), x, e.rows, out, own});
    });
  }

  void activate(const ExpertRows& e) const {
    const std::int64_t width = gates_.row_stride(),
                       grain = path_of(ex_, *w_.gates[e.expert], e.prompt).slice_rows;
    slice_columns(ex_, routing_, e, width, grain, [&](std::int64_t begin, std::int64_t end) {
      ex_.table().silu_mul(
          {gates_.f32(), ups_.f32(), hidden_.f32(), e.begin, e.begin + e.rows, begin, end, width});
    });
  }

  Exec& ex_;
  const Tensor x_;
  const ExpertWeights& w_;
  const Routing& routing_;
  const Tensor gates_, ups_;  ///< products
  const Tensor rows_;         ///< gathered, and then what is made of them
  const Tensor hidden_;       ///< activations: where the gates are, if they need not stay
  ExpertInputs for_gates_, for_ups_, for_downs_;
};

/// By the decode kernels: [T, experts]. Ends with a barrier.
Tensor router_logits(Exec& ex, Tensor x, const PackedMatrix& router) {
  const Tensor logits = ex.temporary({x.rows(), router.n()});
  const tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, x, router, x.rows());
  matmul_slice(ex, prepared, router, logits.f32(), nullptr, nullptr);
  if (!ex.tracing()) ex.barrier();
  return logits;
}

/// On the worker that records.
void count_taken(const Routing& r, Tape::Balance& balance) {
  if (balance.complete) return;
  balance.taken.resize(static_cast<std::size_t>(r.experts));
  for (std::int64_t e = 0; e < r.experts; ++e)
    balance.taken[static_cast<std::size_t>(e)] +=
        r.wanted != nullptr ? r.wanted[e] : r.first[2 * e + 2] - r.first[2 * e];
  balance.rows += r.rows;
}

/// out = residual, if there is one, + the sum of a row's experts, each with its weight. Ends with a barrier.
void combine(Exec& ex, const Routing& r, Tensor made, Tensor residual, Tensor out) {
  const std::int64_t width = out.row_stride();
  ex.slice(r.rows * width, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin / width; t * width < end; ++t) {
      const std::int64_t from = std::max<std::int64_t>(begin - t * width, 0),
                         to = std::min(end - t * width, width);
      float* sum = out.f32() + t * width;
      if (residual.data == nullptr)
        std::fill(sum + from, sum + to, 0.0F);
      else
        std::memmove(sum + from, residual.f32() + t * width + from, (to - from) * sizeof(float));
      for (std::int64_t at = t * r.chosen; at < (t + 1) * r.chosen; ++at) {
        if (r.slot[at] < 0) continue;
        const float* expert = made.f32() + r.slot[at] * width;
        for (std::int64_t i = from; i < to; ++i) sum[i] += r.weight[at] * expert[i];
      }
    }
  });
  ex.barrier();
}

/// Rows that an expert takes; 0: any number.
std::int64_t most_rows(const Exec& ex, const ExpertWeights& w, std::int64_t rows) {
  if (!ex.training() || w.capacity == 0) return 0;
  const double even = static_cast<double>(rows * w.chosen) / static_cast<double>(w.experts);
  return static_cast<std::int64_t>(std::ceil(w.capacity * even));
}

void all_to_all(Exec& ex, const char* name, double moved) {
  if (ex.sharding().expert == 1) return;
  OpCost cost{.name = name, .kind = OpKind::kCollective};
  cost.collective = Collective::kAllToAll;
  cost.axis = Axis::kExpert;
  cost.elements = moved;
  ex.record(std::move(cost));
}

/// One product for each of `groups` experts, rows each.
void grouped(Exec& ex, const char* name, double rows, double groups,
             std::initializer_list<const PackedMatrix*> weights) {
  OpCost cost = fused_cost(name, 1, weights);
  const double all = rows * groups;
  cost.flops *= all;
  cost.weight_bytes *= groups;
  cost.activation_bytes *= all;
  cost.m = rows;
  cost.groups = groups;
  ex.record(std::move(cost));
}

void record_costs(Exec& ex, Tensor x, const ExpertWeights& w, Tensor out) {
  const PackedMatrix &gate = *w.gates[0], &up = *w.ups[0], &down = *w.downs[0];
  const auto rows = static_cast<double>(x.rows()), width = static_cast<double>(x.row_stride());
  // What all ranks of the expert axis send here is, when even, what this rank sends out.
  const double routed =
      rows * static_cast<double>(w.chosen) * (w.capacity > 0 ? std::min(w.capacity, 1.0) : 1);
  const double each = routed / static_cast<double>(w.local), middle = routed * static_cast<double>(gate.n());
  ex.record(linear_cost("router", x.rows(), *w.router));
  ex.record(rows_cost("dispatch", routed * width, routed * width));
  all_to_all(ex, "dispatch", routed * width);
  grouped(ex, "moe_ffn", each, static_cast<double>(w.local), {&gate, &up});
  ex.record(rows_cost("silu_mul", 2 * middle, middle));
  grouped(ex, "moe_ffn", each, static_cast<double>(w.local), {&down});
  all_to_all(ex, "combine", routed * width);
  ex.record(rows_cost("combine", routed * width, static_cast<double>(out.rows() * out.row_stride())));
}

}  // namespace

void moe_ffn(Exec& ex, Tensor x, const ExpertWeights& w, std::int64_t generated, Tensor residual,
             Tensor out) {
  TW_CHECK(w.local * ex.sharding().expert == w.experts && residual_fits(ex, residual, out, out.row_stride()),
           "moe_ffn: shapes");
  const auto local = static_cast<std::size_t>(w.local);
  TW_CHECK(w.gates.size() == local && w.ups.size() == local && w.downs.size() == local,
           "moe_ffn: every expert has its weights");
  if (ex.tracing()) record_costs(ex, x, w, out);
  TW_CHECK(ex.tracing() || ex.sharding().expert == 1, "experts on other ranks cannot be run yet");
  TW_CHECK(!ex.training() || generated == 0, "what is generated is not learnt from");
  const tensor::Arena::Scope kept(ex.arena(), ex.training());
  SavedExperts s{.x = x, .logits = router_logits(ex, x, *w.router), .weights = w};
  s.routing =
      route(ex, s.logits, std::min(w.chosen, w.local), w.normed, generated, most_rows(ex, w, x.rows()));
  s.gates = ex.temporary({s.routing.slots(), w.gates[0]->n()});
  s.ups = ex.temporary(s.gates.shape);
  s.made = ex.temporary({s.routing.slots(), x.row_stride()});
  {
    const tensor::Arena::Scope scope(ex.arena());
    ExpertStep step(ex, s, generated);
    if (!ex.tracing()) {
      step.run();
      combine(ex, s.routing, s.made, residual, out);
    }
  }
  Tape* tape = ex.recording();
  if (tape == nullptr) return;
  if (!ex.tracing()) count_taken(s.routing, tape->balance());
  tape->record<experts_backward>(s, {out}, {residual, x}, true);
}

}  // namespace tw::ops
