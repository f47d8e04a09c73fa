#include "ops/gated_ffn.h"

#include <algorithm>

#include "ops/linear.h"
#include "ops/low_rank.h"
#include "ops/rounded_ffn.h"

namespace tw::ops {
namespace {

/// The layer's weights, and whether a prompt's rows go from the first two to the third in one piece.
struct GatedFfn {
  const PackedMatrix &gate, &up, &down;
  const kernels::MatmulPath& prompt;  ///< of gate
  bool fused;

  GatedFfn(const Exec& ex, const PackedMatrix& g, const PackedMatrix& u, const PackedMatrix& d)
      : gate(g), up(u), down(d), prompt(path_of(ex, g, true)), fused(prompts_in_one_piece(ex, g, u, d)) {}
};

/// gates = silu(gates) * ups for rows [first, last), on the slices that the products had.
void activate(Exec& ex, const GatedFfn& ffn, bool prompt, Tensor gates, Tensor ups, std::int64_t first,
              std::int64_t last) {
  if (first == last) return;
  const std::int64_t width = ffn.gate.n();
  ex.slice(width, path_of(ex, ffn.gate, prompt).slice_rows, [&](std::int64_t begin, std::int64_t end) {
    ex.table().silu_mul({gates.f32(), ups.f32(), gates.f32(), first, last, begin, end, width});
  });
}

/// Prompt rows straight into down's form.
PreparedRows run_fused(Exec& ex, const GatedFfn& ffn, const PreparedRows& x) {
  const std::int64_t width = ffn.gate.n();
  const kernels::MatmulPath& down = path_of(ex, ffn.down, true);
  std::byte* out = ex.arena().allocate(down.prepared_bytes(x.rows, width));
  void* scratch = ex.scratch(ffn.prompt.scratch_bytes(x.rows, ffn.gate.k()));
  if (!ex.tracing()) {
    ex.slice(width, ffn.prompt.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      ffn.prompt.run_gated(
          {ffn.gate.data(), ffn.up.data(), begin, end, width, ffn.gate.k(), x.data, x.rows, out, scratch});
    });
  }
  return {x.begin, x.rows, out, &down};
}

/// The layer's additions: to gate and up, and to down.
struct LowRanks {
  LowRankSum gate_up, down;
  LowRanks(Exec& ex, const Adapters& adapters, std::int64_t generated, std::int64_t first_row)
      : gate_up(ex, adapters, 0, 2, generated, first_row), down(ex, adapters, 2, 1, generated, first_row) {}
};

/// Whether a worker activates what it has multiplied itself: both products are cut along the same columns.
bool cut_as_activated(const Exec& ex, const GatedFfn& ffn) {
  const auto alike = [&](bool prompt) {
    return path_of(ex, ffn.gate, prompt).slice_rows == path_of(ex, ffn.up, prompt).slice_rows;
  };
  return alike(false) && alike(true) && sides_of(ex, ffn.gate) == nullptr && sides_of(ex, ffn.up) == nullptr;
}

/// silu(x gateᵀ) * (x upᵀ), prepared for down; ends with a barrier.
Prepared run_gate_up(Exec& ex, const GatedFfn& ffn, const Input& x, std::int64_t generated, LowRanks& low) {
  // The worst step is traced: its rows may be divided in any way.
  const std::int64_t plain = ex.tracing() || !ffn.fused ? x.x.rows() : generated;
  const Tensor gates = ex.output({plain, ffn.gate.n()}), ups = ex.output({plain, ffn.gate.n()});
  Prepared for_gate = prepare(ex, x, ffn.gate, generated);
  Prepared for_up = prepare_again(ex, x, ffn.up, for_gate);
  PreparedRows fused;
  if (ffn.fused && for_gate.prompt.rows > 0) fused = run_fused(ex, ffn, for_gate.prompt);
  if (ffn.fused && !ex.tracing()) for_gate.prompt.rows = for_up.prompt.rows = 0;
  matmul_slice(ex, for_gate, ffn.gate, gates.f32(), nullptr, nullptr);
  matmul_slice(ex, for_up, ffn.up, ups.f32(), nullptr, nullptr);
  low.gate_up.project(ex, x.x, for_gate);
  if (!ex.tracing()) {
    if (!low.gate_up.empty()) ex.barrier();
    low.gate_up.add_all(ex, {gates, ups});
    if (!cut_as_activated(ex, ffn)) ex.barrier();
    activate(ex, ffn, false, gates, ups, 0, generated);
    activate(ex, ffn, true, gates, ups, generated, plain);
    ex.barrier();
  }
  Prepared result = prepare(ex, gates, ffn.down, generated);
  low.down.project(ex, gates, result);
  if (fused.rows > 0) result.prompt = fused;
  return result;
}

/// Rows that lie beside each other, of which `first_row` is the step's number of the first.
void run_rows(Exec& ex, const Input& x, const GatedFfn& ffn, std::int64_t generated, Tensor residual,
              Tensor out, const Adapters& adapters, std::int64_t first_row) {
  const tensor::Arena::Scope scope(ex.arena());
  LowRanks low(ex, adapters, generated + first_row, first_row);
  const Prepared prepared = run_gate_up(ex, ffn, x, generated, low);
  matmul_slice(ex, prepared, ffn.down, out.f32(), nullptr, residual.f32());
  if (!ex.tracing()) ex.barrier();
  low.down.add_all(ex, {out});
}

/// Where a prompt's rows go in one piece, there is no place for an adapter: its rows go in two, the others'
/// as without it.
void run_pieces(Exec& ex, Tensor x, const GatedFfn& ffn, std::int64_t generated, Tensor residual, Tensor out,
                const Adapters& adapters) {
  const auto rows_of = [](Tensor t, std::int64_t begin, std::int64_t end) {
    return Tensor{t.dtype, {end - begin, t.row_stride()}, t.f32() + begin * t.row_stride()};
  };
  GatedFfn in_two = ffn;
  in_two.fused = false;
  const auto run = [&](const GatedFfn& how, std::int64_t begin, std::int64_t end, std::size_t first_run,
                       std::size_t runs) {
    if (begin == end) return;
    const Adapters theirs{adapters.runs.subspan(first_run, runs), adapters.linear};
    run_rows(ex, rows_of(x, begin, end), how, std::clamp<std::int64_t>(generated - begin, 0, end - begin),
             residual.shape.rank() == 0 ? residual : rows_of(residual, begin, end), rows_of(out, begin, end),
             theirs, begin);
  };
  // Generated rows never go in one piece.
  std::size_t done = 0;
  while (done < adapters.runs.size() && adapters.runs[done].begin < generated) ++done;
  run(in_two, 0, generated, 0, done);
  std::int64_t begin = generated;
  while (begin < x.rows()) {
    const std::int64_t next = done < adapters.runs.size() ? adapters.runs[done].begin : x.rows();
    run(ffn, begin, next, 0, 0);
    if (next == x.rows()) break;
    begin = adapters.runs[done].end;
    run(in_two, next, begin, done++, 1);
  }
}

struct SavedFfn {
  Tensor x, gates, ups;  ///< of the products
  const PackedMatrix *gate, *up, *down;
  SavedLowRank low_gate, low_up, low_down;
};

void gated_ffn_backward(const Backward& b, const SavedFfn& s) {
  Exec& ex = b.ex;
  const std::int64_t rows = s.x.rows(), width = s.gate->n();
  const Tensor d_y{DType::kF32, {rows, s.down->n()}, b.d_out().data}, hidden = ex.temporary({rows, width});
  const OutputGradient sides = both_sides(b, d_y, SavedLayer{*s.down, {}, s.low_down}.learnt());
  input_gradient(b, sides, *s.down, hidden, false);
  const Tensor d_middle = low_rank_middle_gradient(b, sides, s.low_down);
  low_rank_input_gradient(b, d_middle, s.low_down, hidden);
  if (!ex.tracing()) {  // what the forward left becomes gradients in place
    ex.slice(rows * width, 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.silu_mul_backward({s.gates.f32(), s.ups.f32(), hidden.f32(), begin, end});
    });
    ex.barrier();
  }
  {
    const tensor::Arena::Scope scope(ex.arena());
    const TransposedInput learnt = transpose_learnt(b, hidden, {s.down, s.low_down.a_of_input()});
    add_weight_gradient(b, sides, learnt, *s.down);
    low_rank_weight_gradients(b, sides, d_middle, hidden, learnt, s.low_down);
  }
  const Tensor d_gates{DType::kF32, {rows, width}, s.gates.data},
      d_ups{DType::kF32, {rows, width}, s.ups.data};
  const TransposedInput x =
      transpose_learnt(b, s.x, {s.gate, s.up, s.low_gate.a_of_input(), s.low_up.a_of_input()});
  linear_gradients(b, {{d_gates, {*s.gate, {}, s.low_gate}}, {d_ups, {*s.up, {}, s.low_up}}}, s.x, x, 1,
                   b.adds(1));
  pass_gradient(b);
}

/// With a tape both products stay, and the activation lies beside them.
void train_gated_ffn(Exec& ex, Tensor x, const GatedFfn& ffn, Tensor residual, Tensor out,
                     const Adapters& adapters) {
  const std::int64_t rows = x.rows(), width = ffn.gate.n();
  const Tensor gates = ex.temporary({rows, width}), ups = ex.temporary({rows, width});
  LowRanks low(ex, adapters, 0, 0);
  const tensor::Arena::Scope scope(ex.arena());
  const Tensor hidden = ex.temporary({rows, width});
  const Prepared for_gate = prepare(ex, x, ffn.gate, 0), for_up = prepare_again(ex, x, ffn.up, for_gate);
  matmul_slice(ex, for_gate, ffn.gate, gates.f32(), nullptr, nullptr);
  matmul_slice(ex, for_up, ffn.up, ups.f32(), nullptr, nullptr);
  low.gate_up.project(ex, x, for_gate);
  if (!ex.tracing()) {
    ex.barrier();
    low.gate_up.add_all(ex, {gates, ups});
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      ex.table().silu_mul({gates.f32(), ups.f32(), hidden.f32(), begin, end, 0, width, width});
    });
    ex.barrier();
  }
  const Prepared prepared = prepare(ex, hidden, ffn.down, 0);
  matmul_slice(ex, prepared, ffn.down, out.f32(), nullptr, residual.f32());
  low.down.project(ex, hidden, prepared);
  if (!ex.tracing()) ex.barrier();
  low.down.add_all(ex, {out});
  if (Tape* tape = ex.recording()) {
    const SavedFfn saved{x,
                         gates,
                         ups,
                         &ffn.gate,
                         &ffn.up,
                         &ffn.down,
                         low.gate_up.saved(0),
                         low.gate_up.saved(1),
                         low.down.saved(0)};
    tape->record<gated_ffn_backward>(saved, {out}, {residual, x}, true);
  }
}

}  // namespace

void run_gated_ffn(Exec& ex, const Input& in, const PackedMatrix& gate, const PackedMatrix& up,
                   const PackedMatrix& down, std::int64_t generated, Tensor residual, Tensor out,
                   const Adapters& adapters) {
  TW_CHECK(gate.n() == up.n() && gate.n() == down.k(), "gate, up and down have widths that do not fit");
  TW_CHECK((residual.shape.rank() == 0 || residual.shape == out.shape) && out.row_stride() == down.n(),
           "a residual has the wrong shape");
  const GatedFfn ffn(ex, gate, up, down);
  const Tensor x = in.x;
  if (ex.training()) {
    TW_CHECK(generated == 0, "what is generated is not learnt from");
    if (!adapts(adapters, 0, 3) && rounds_ffn(ex, gate, up, down))
      train_rounded_ffn(ex, x, gate, up, down, residual, out);
    else
      train_gated_ffn(ex, x, ffn, residual, out, adapters);
  } else if (ex.tracing() || !ffn.fused || !adapts(adapters, 0, 3)) {
    run_rows(ex, in, ffn, generated, residual, out, adapters, 0);
  } else {
    TW_CHECK(!in.alone, "an adapter's layers are told of rows as they are");
    run_pieces(ex, x, ffn, generated, residual, out, adapters);
  }
}

void record_gated_ffn(Exec& ex, const char* name, std::int64_t rows, const PackedMatrix& gate,
                      const PackedMatrix& up, const PackedMatrix& down) {
  const auto middle = static_cast<double>(rows * gate.n());
  ex.record(fused_cost(name, rows, {&gate, &up}));
  ex.record(rows_cost("silu_mul", 2 * middle, middle));
  ex.record(linear_cost(name, rows, down));
}

void gated_ffn(Exec& ex, const Input& x, const PackedMatrix& gate, const PackedMatrix& up,
               const PackedMatrix& down, std::int64_t generated, Tensor residual, Tensor out,
               const Adapters& adapters) {
  TW_CHECK(residual_fits(ex, residual, out, down.n()), "a residual has the wrong shape");
  run_gated_ffn(ex, x, gate, up, down, generated, residual, out, adapters);
  if (!ex.tracing()) return;
  record_gated_ffn(ex, "gated_ffn", x.x.rows(), gate, up, down);
  const auto elements = static_cast<double>(out.rows() * out.row_stride());
  ex.record(rows_cost("residual", 2 * elements, elements));
}

}  // namespace tw::ops
