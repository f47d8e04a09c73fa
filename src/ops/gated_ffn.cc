#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// The layer's weights, and whether a prompt's rows go from the first two to the third in one piece.
struct GatedFfn {
  const PackedMatrix &gate, &up, &down;
  const kernels::MatmulPath& prompt;  ///< of gate
  bool fused;

  GatedFfn(const Exec& ex, const PackedMatrix& g, const PackedMatrix& u, const PackedMatrix& d)
      : gate(g),
        up(u),
        down(d),
        prompt(path_of(ex, g, true)),
        fused(prompt.run_gated != nullptr && g.type() == u.type() && g.n() % prompt.slice_rows == 0 &&
              path_of(ex, d, true).prepare == prompt.prepare) {}
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
  std::byte* out = ex.arena().allocate(ffn.prompt.prepared_bytes(x.rows, width));
  void* scratch = ex.scratch(ffn.prompt.scratch_bytes(x.rows, ffn.gate.k()));
  if (!ex.tracing()) {
    ex.slice(width, ffn.prompt.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      ffn.prompt.run_gated(
          {ffn.gate.data(), ffn.up.data(), begin, end, width, ffn.gate.k(), x.data, x.rows, out, scratch});
    });
  }
  return {x.begin, x.rows, out, ffn.prompt.prepare};
}

/// silu(x gateᵀ) * (x upᵀ), prepared for down; ends with a barrier.
Prepared run_gate_up(Exec& ex, const GatedFfn& ffn, Tensor x, std::int64_t generated) {
  // The worst step is traced: its rows may be divided in any way.
  const std::int64_t plain = ex.tracing() || !ffn.fused ? x.rows() : generated;
  const Tensor gates = ex.output({plain, ffn.gate.n()}), ups = ex.output({plain, ffn.gate.n()});
  Prepared for_gate = prepare(ex, x, ffn.gate, generated);
  Prepared for_up = prepare_again(ex, x, ffn.up, for_gate);
  PreparedRows fused;
  if (ffn.fused && for_gate.prompt.rows > 0) fused = run_fused(ex, ffn, for_gate.prompt);
  if (ffn.fused && !ex.tracing()) for_gate.prompt.rows = for_up.prompt.rows = 0;
  matmul_slice(ex, for_gate, ffn.gate, gates.f32(), nullptr, nullptr);
  matmul_slice(ex, for_up, ffn.up, ups.f32(), nullptr, nullptr);
  if (!ex.tracing()) {
    // Where the two products are cut differently, all must wait here.
    for (const bool prompt : {false, true}) {
      if (path_of(ex, ffn.gate, prompt).slice_rows != path_of(ex, ffn.up, prompt).slice_rows) {
        ex.barrier();
        break;
      }
    }
    activate(ex, ffn, false, gates, ups, 0, generated);
    activate(ex, ffn, true, gates, ups, generated, plain);
    ex.barrier();
  }
  Prepared result = prepare(ex, gates, ffn.down, generated);
  if (fused.rows > 0) result.prompt = fused;
  return result;
}

struct SavedFfn {
  Tensor x, gates, ups;  ///< of the products
  const PackedMatrix *gate, *up, *down;
};

/// What the forward left becomes gradients in place.
void gated_ffn_backward(const Backward& b, const SavedFfn& s) {
  Exec& ex = b.ex;
  const std::int64_t rows = s.x.rows(), width = s.gate->n();
  const Tensor d_y{DType::kF32, {rows, s.down->n()}, b.d_out().data}, hidden = ex.temporary({rows, width});
  input_gradient(b, d_y, *s.down, hidden, false);
  if (!ex.tracing()) {
    ex.slice(rows * width, 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.silu_mul_backward({s.gates.f32(), s.ups.f32(), hidden.f32(), begin, end});
    });
    ex.barrier();
  }
  {
    const tensor::Arena::Scope scope(ex.arena());
    add_weight_gradient(b, d_y, transpose_input(ex, hidden, *s.down), *s.down);
  }
  const TransposedInput x = transpose_input(ex, s.x, *s.gate);
  add_weight_gradient(b, s.gates, x, *s.gate);
  add_weight_gradient(b, s.ups, x, *s.up);
  if (b.wants(1)) {
    input_gradient(b, s.gates, *s.gate, b.d_in(1), b.adds(1));
    input_gradient(b, s.ups, *s.up, b.d_in(1), true);
  }
  pass_gradient(b);
}

/// With a tape both products stay, and the activation lies beside them.
void train_gated_ffn(Exec& ex, Tensor x, const GatedFfn& ffn, Tensor residual, Tensor out) {
  const std::int64_t rows = x.rows(), width = ffn.gate.n();
  const Tensor gates = ex.temporary({rows, width}), ups = ex.temporary({rows, width});
  const tensor::Arena::Scope scope(ex.arena());
  const Tensor hidden = ex.temporary({rows, width});
  const Prepared for_gate = prepare(ex, x, ffn.gate, 0), for_up = prepare_again(ex, x, ffn.up, for_gate);
  matmul_slice(ex, for_gate, ffn.gate, gates.f32(), nullptr, nullptr);
  matmul_slice(ex, for_up, ffn.up, ups.f32(), nullptr, nullptr);
  if (!ex.tracing()) {
    ex.barrier();
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      ex.table().silu_mul({gates.f32(), ups.f32(), hidden.f32(), begin, end, 0, width, width});
    });
    ex.barrier();
  }
  const Prepared prepared = prepare(ex, hidden, ffn.down, 0);
  matmul_slice(ex, prepared, ffn.down, out.f32(), nullptr, residual.f32());
  if (!ex.tracing()) ex.barrier();
  if (Tape* tape = ex.recording())
    tape->record<gated_ffn_backward>(SavedFfn{x, gates, ups, &ffn.gate, &ffn.up, &ffn.down}, {out},
                                     {residual, x}, true);
}

}  // namespace

void gated_ffn(Exec& ex, Tensor x, const PackedMatrix& gate, const PackedMatrix& up, const PackedMatrix& down,
               std::int64_t generated, Tensor residual, Tensor out) {
  TW_CHECK(gate.n() == up.n() && gate.n() == down.k(), "gate, up and down have widths that do not fit");
  TW_CHECK(residual.shape == out.shape && out.row_stride() == down.n(), "a residual has the wrong shape");
  if (ex.training()) {
    TW_CHECK(generated == 0, "what is generated is not learnt from");
    train_gated_ffn(ex, x, {ex, gate, up, down}, residual, out);
  } else {
    tensor::Arena::Scope scope(ex.arena());
    const Prepared prepared = run_gate_up(ex, {ex, gate, up, down}, x, generated);
    matmul_slice(ex, prepared, down, out.f32(), nullptr, residual.f32());
    if (!ex.tracing()) ex.barrier();
  }
  if (!ex.tracing()) return;
  const auto middle = static_cast<double>(x.rows() * gate.n());
  const auto elements = static_cast<double>(out.rows() * out.row_stride());
  ex.record(fused_cost("gated_ffn", x.rows(), {&gate, &up}));
  ex.record(rows_cost("silu_mul", 2 * middle, middle));
  ex.record(linear_cost("gated_ffn", x.rows(), down));
  ex.record(rows_cost("residual", 2 * elements, elements));
}

}  // namespace tw::ops
