#include "ops/rounded_ffn.h"

#include <utility>

#include "ops/linear.h"

namespace tw::ops {
namespace {

using tensor::PackedMatrix;

struct SavedRounded {
  Tensor x;
  std::byte *gates, *ups;  ///< left sides [T, F]
  const PackedMatrix *gate, *up, *down;
};

/// What comes of the gradient by silu(gates) * ups.
struct MiddleGradients {
  OutputGradient gates, ups;
  TransposedInput hidden;  ///< silu(gates) * ups, for down's gradient
};

/// In one reading; gates and ups are overwritten.
MiddleGradients middle_gradients(const Backward& b, const SavedRounded& s, const std::byte* d_hidden) {
  Exec& ex = b.ex;
  const kernels::TrainMatmul& matmul = *both_sides_of(ex, *s.down);
  const std::int64_t rows = s.x.rows(), width = s.gate->n();
  const auto room = [&] { return ex.arena().allocate(matmul.kernel.decode.prepared_bytes(width, rows)); };
  std::byte *const gates = room(), *const ups = room();
  std::byte* const right = ex.arena().allocate(matmul.kernel.packed_bytes(s.down->type(), width, rows));
  if (!ex.tracing()) {
    ex.slice(rows, 32, [&](std::int64_t begin, std::int64_t end) {
      matmul.make_gated_lefts({s.gates, s.ups, d_hidden, rows, width, gates, ups, right, begin, end});
    });
    ex.barrier();
  }
  const Tensor shape{DType::kF32, {rows, width}, nullptr};
  MiddleGradients of{shape, shape, {right, rows, width}};
  of.gates.as_is = s.gates, of.gates.transposed = gates;
  of.ups.as_is = s.ups, of.ups.transposed = ups;
  return of;
}

void rounded_ffn_backward(const Backward& b, const SavedRounded& s) {
  const Tensor d_y{DType::kF32, {s.x.rows(), s.down->n()}, b.d_out().data};
  OutputGradient sides = both_sides(b, d_y, *s.down);
  MiddleGradients middle = middle_gradients(b, s, rounded_input_gradient(b, sides, *s.down));
  sides.in_company = middle.gates.in_company = middle.ups.in_company = true;
  add_weight_gradient(b, sides, middle.hidden, *s.down);
  const TransposedInput x = transpose_learnt(b, s.x, {s.gate, s.up});
  bool add = b.wants(1) && b.adds(1);
  for (const auto& [d, weight] : {std::pair{&middle.gates, s.gate}, std::pair{&middle.ups, s.up}}) {
    add_weight_gradient(b, *d, x, *weight);
    if (b.wants(1)) input_gradient(b, *d, *weight, b.d_in(1), std::exchange(add, true));
  }
  if (!b.ex.tracing()) b.ex.barrier();
  pass_gradient(b);
}

/// silu(gates) * ups as an input of `down`.
Prepared activated(Exec& ex, const PackedMatrix& down, const std::byte* gates, const std::byte* ups,
                   std::int64_t rows) {
  const kernels::MatmulPath& path = down.kernel().decode;
  std::byte* const out = ex.arena().allocate(path.prepared_bytes(rows, down.k()));
  if (!ex.tracing()) {
    ex.slice(rows, path.prepare_rows, [&](std::int64_t begin, std::int64_t end) {
      both_sides_of(ex, down)->make_gated_left({gates, ups, down.k(), out, begin, end});
    });
    ex.barrier();
  }
  return {{}, {0, rows, out, &path}};
}

}  // namespace

bool rounds_ffn(const Exec& ex, const PackedMatrix& gate, const PackedMatrix& up, const PackedMatrix& down) {
  const kernels::TrainMatmul* matmul = both_sides_of(ex, gate);
  return matmul != nullptr && ex.observer() == nullptr && matmul == both_sides_of(ex, up) &&
         matmul == both_sides_of(ex, down);
}

void train_rounded_ffn(Exec& ex, Tensor x, const PackedMatrix& gate, const PackedMatrix& up,
                       const PackedMatrix& down, Tensor residual, Tensor out) {
  const std::int64_t rows = x.rows();
  const auto room = [&] { return ex.arena().allocate(gate.kernel().decode.prepared_bytes(rows, gate.n())); };
  std::byte *const gates = room(), *const ups = room();
  const tensor::Arena::Scope scope(ex.arena());
  const Prepared for_gate = prepare(ex, x, gate, 0), for_up = prepare_again(ex, x, up, for_gate);
  rounded_matmul_slice(ex, for_gate, gate, gates);
  rounded_matmul_slice(ex, for_up, up, ups);
  if (!ex.tracing()) ex.barrier();
  matmul_slice(ex, activated(ex, down, gates, ups, rows), down, out.f32(), nullptr, residual.f32());
  if (!ex.tracing()) ex.barrier();
  if (Tape* tape = ex.recording()) {
    tape->record<rounded_ffn_backward>(SavedRounded{x, gates, ups, &gate, &up, &down}, {out}, {residual, x},
                                       true);
  }
}

}  // namespace tw::ops
