#include "ops/linear.h"

#include "ops/ops.h"

namespace tw::ops {

Prepared prepare(Exec& ex, Tensor x, const PackedMatrix& weight) {
  const kernels::MatmulKernel& kernel = weight.kernel();
  const std::int64_t rows = x.rows(), k = weight.k();
  TW_CHECK(x.row_stride() == k, "a linear layer's input has the wrong width");
  if (kernel.prepare == nullptr) return {x.data, k * static_cast<std::int64_t>(sizeof(float)), nullptr};
  const std::int64_t bytes = kernel.prepared_bytes(k);
  std::byte* prepared = ex.arena().allocate(bytes * rows);
  if (!ex.tracing()) {
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      kernel.prepare({x.f32(), k, prepared, begin, end, k});
    });
    ex.barrier();
  }
  return {prepared, bytes, kernel.prepare};
}

Prepared prepare_again(Exec& ex, Tensor x, const PackedMatrix& weight, const Prepared& have) {
  return weight.kernel().prepare == have.form ? have : prepare(ex, x, weight);
}

void* matmul_scratch(Exec& ex, const PackedMatrix& weight) {
  const kernels::MatmulKernel& kernel = weight.kernel();
  return ex.scratch(kernel.scratch_bytes == nullptr ? 0 : kernel.scratch_bytes(weight.k()));
}

void matmul_slice(Exec& ex, const Prepared& x, std::int64_t rows, const PackedMatrix& weight, float* out,
                  const float* bias, const float* residual) {
  void* scratch = matmul_scratch(ex, weight);
  ex.slice(weight.n(), weight.kernel().panel_rows, [&](std::int64_t begin, std::int64_t end) {
    weight.kernel().run({weight.type(), weight.data(), begin, end, weight.n(), weight.k(), x.data, x.stride,
                         rows, out, weight.n(), bias, residual, scratch});
  });
}

OpCost linear_cost(const char* name, std::int64_t rows, const PackedMatrix& weight) {
  const auto n = static_cast<double>(weight.n()), k = static_cast<double>(weight.k()),
             t = static_cast<double>(rows);
  return {name, 2 * t * n * k, static_cast<double>(weight.bytes()), t * (n + k) * sizeof(float)};
}

Tensor linear(Exec& ex, Tensor x, const PackedMatrix& weight, Tensor bias) {
  const Tensor out = ex.output({x.rows(), weight.n()});
  tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, x, weight);
  if (ex.tracing()) {
    matmul_scratch(ex, weight);
    ex.record(linear_cost("linear", x.rows(), weight));
    return out;
  }
  matmul_slice(ex, prepared, x.rows(), weight, out.f32(), bias.f32(), nullptr);
  ex.barrier();
  return out;
}

void linear_residual(Exec& ex, Tensor x, const PackedMatrix& weight, Tensor residual, Tensor out) {
  TW_CHECK(residual.shape == out.shape && out.row_stride() == weight.n(), "a residual has the wrong shape");
  tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, x, weight);
  if (ex.tracing()) {
    matmul_scratch(ex, weight);
    return ex.record(linear_cost("linear_residual", x.rows(), weight));
  }
  matmul_slice(ex, prepared, x.rows(), weight, out.f32(), nullptr, residual.f32());
  ex.barrier();
}

Tensor gate_up_silu(Exec& ex, Tensor x, const PackedMatrix& gate, const PackedMatrix& up) {
  TW_CHECK(gate.n() == up.n(), "gate and up have different widths");
  const std::int64_t rows = x.rows(), width = gate.n();
  const Tensor out = ex.output({rows, width});
  tensor::Arena::Scope scope(ex.arena());
  const Tensor ups = ex.output({rows, width});
  const Prepared for_gate = prepare(ex, x, gate);
  const Prepared for_up = prepare_again(ex, x, up, for_gate);
  if (ex.tracing()) {
    matmul_scratch(ex, gate);
    matmul_scratch(ex, up);
    OpCost cost = linear_cost("gate_up_silu", rows, gate);
    cost.flops *= 2;
    cost.weight_bytes += static_cast<double>(up.bytes());
    ex.record(std::move(cost));
    return out;
  }
  matmul_slice(ex, for_gate, rows, gate, out.f32(), nullptr, nullptr);
  matmul_slice(ex, for_up, rows, up, ups.f32(), nullptr, nullptr);
  // With different panel sizes the two products are cut differently; only then must all wait here.
  if (gate.kernel().panel_rows != up.kernel().panel_rows) ex.barrier();
  ex.slice(width, gate.kernel().panel_rows, [&](std::int64_t begin, std::int64_t end) {
    ex.table().silu_mul({out.f32(), ups.f32(), out.f32(), 0, rows, begin, end, width});
  });
  ex.barrier();
  return out;
}

}  // namespace tw::ops
