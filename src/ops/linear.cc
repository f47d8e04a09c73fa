#include "ops/linear.h"

#include "ops/input_squares.h"
#include "ops/low_rank.h"
#include "ops/ops.h"

namespace tw::ops {

const kernels::MatmulPath& path_of(const Exec& ex, const PackedMatrix& weight, bool prompt) {
  const auto type = static_cast<std::size_t>(weight.type());
  const kernels::Table& table = ex.table();
  const bool rounds = table.int8_prompts && !weight.exact() && table.int8_prefill[type] != nullptr;
  const kernels::MatmulPath* prefill = rounds ? table.int8_prefill[type] : table.prefill[type];
  // It reads the form of the table's own kernel alone.
  const bool serves = prefill != nullptr && &weight.kernel() == ex.table().matmul[type];
  return prompt && serves ? *prefill : weight.kernel().decode;
}

const kernels::TrainMatmul* sides_of(const Exec& ex, const PackedMatrix& weight) {
  const kernels::TrainMatmul* matmul = ex.table().train_matmul;
  return matmul != nullptr && &weight.kernel() == &matmul->kernel ? matmul : nullptr;
}

PreparedRows prepare_rows(Exec& ex, Tensor x, const kernels::MatmulPath& path, std::int64_t begin,
                          std::int64_t rows, bool& made) {
  const std::int64_t k = x.row_stride();
  const float* first = ex.tracing() ? nullptr : x.f32() + begin * k;
  if (path.prepare == nullptr || rows == 0) return {begin, rows, first, &path};
  std::byte* prepared = ex.arena().allocate(path.prepared_bytes(rows, k));
  made = true;
  if (!ex.tracing()) {
    ex.slice(rows, path.prepare_rows,
             [&](std::int64_t from, std::int64_t to) { path.prepare({first, k, prepared, from, to, k}); });
  }
  return {begin, rows, prepared, &path};
}

bool reads_alike(const kernels::MatmulPath& path, const kernels::MatmulPath& other) {
  return path.prepare == other.prepare || (path.bf16 && other.bf16);
}

namespace {

void multiply(Exec& ex, const PreparedRows& x, const PackedMatrix& weight, bool prompt, float* out,
              const float* bias, const float* residual) {
  if (x.rows == 0) return;
  const kernels::MatmulPath& path = path_of(ex, weight, prompt);
  void* scratch = ex.scratch(path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(x.rows, weight.k()));
  if (ex.tracing()) return;
  const std::int64_t first = x.begin * weight.n();
  kernels::MatmulArgs args = {weight.type(), weight.data(), 0,
                              weight.n(),    weight.n(),    weight.k(),
                              x.data,        x.rows,        out + first,
                              weight.n(),    bias,          residual == nullptr ? nullptr : residual + first,
                              scratch};
  if (sides_of(ex, weight) != nullptr)
    return slice_sides(ex, args, [&](const kernels::MatmulArgs& part, std::int64_t) { path.run(part); });
  ex.slice(weight.n(), path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
    args.n_begin = begin, args.n_end = end;
    path.run(args);
  });
}

}  // namespace

namespace {

void tell_observer(const Exec& ex, Tensor x, const PackedMatrix& weight) {
  if (ex.observer() != nullptr && !ex.tracing()) ex.observer()->add(ex, x, weight);
}

}  // namespace

Prepared prepare(Exec& ex, const Input& in, const PackedMatrix& weight, std::int64_t generated) {
  if (in.alone) return in.prepared;
  const Tensor x = in.x;
  TW_CHECK(x.rows() == 0 || x.row_stride() == weight.k(), "a linear layer's input has the wrong width");
  TW_CHECK(generated >= 0 && generated <= x.rows(), "a step has fewer rows than generated ones");
  tell_observer(ex, x, weight);
  // The worst step is traced: its rows may be divided in any way, but for those of training.
  const bool any = ex.tracing() && !ex.training();
  const std::int64_t decoded = any ? x.rows() : generated;
  const std::int64_t begin = any ? 0 : generated;
  bool made = false;
  Prepared prepared;
  prepared.generated = prepare_rows(ex, x, path_of(ex, weight, false), 0, decoded, made);
  prepared.prompt = prepare_rows(ex, x, path_of(ex, weight, true), begin, x.rows() - begin, made);
  if (made && !ex.tracing()) ex.barrier();
  return prepared;
}

Prepared prepare_again(Exec& ex, const Input& x, const PackedMatrix& weight, const Prepared& have) {
  if (x.alone) return have;
  const auto serves = [&](const PreparedRows& rows, bool prompt) {
    return rows.rows == 0 || reads_alike(path_of(ex, weight, prompt), *rows.path);
  };
  if (!serves(have.generated, false) || !serves(have.prompt, true))
    return prepare(ex, x, weight, have.generated.rows);
  tell_observer(ex, x.x, weight);
  return have;
}

void matmul_slice(Exec& ex, const Prepared& x, const PackedMatrix& weight, float* out, const float* bias,
                  const float* residual) {
  multiply(ex, x.generated, weight, false, out, bias, residual);
  multiply(ex, x.prompt, weight, true, out, bias, residual);
}

bool prompts_in_one_piece(const Exec& ex, const PackedMatrix& gate, const PackedMatrix& up,
                          const PackedMatrix& down) {
  const kernels::MatmulPath& prompt = path_of(ex, gate, true);
  return ex.observer() == nullptr &&  // who wants to see the third one's input in fp32
         prompt.run_gated != nullptr && gate.type() == up.type() && gate.n() % prompt.slice_rows == 0 &&
         path_of(ex, down, true).bf16;
}

bool residual_fits(const Exec& ex, Tensor residual, Tensor out, std::int64_t width) {
  const bool missing = ex.training() && residual.shape.rank() == 0;
  return (missing || residual.shape == out.shape) && out.row_stride() == width;
}

OpCost linear_cost(const char* name, std::int64_t rows, const PackedMatrix& weight) {
  const auto n = static_cast<double>(weight.n()), k = static_cast<double>(weight.k()),
             t = static_cast<double>(rows);
  OpCost cost{name, 2 * t * n * k, static_cast<double>(weight.bytes()), t * (n + k) * sizeof(float)};
  cost.kind = OpKind::kMatmul;
  cost.m = t, cost.n = n, cost.k = k;
  return cost;
}

OpCost fused_cost(const char* name, std::int64_t rows, std::initializer_list<const PackedMatrix*> weights) {
  OpCost sum = linear_cost(name, rows, **weights.begin());
  for (const PackedMatrix* weight : std::span(weights).subspan(1)) {
    const OpCost more = linear_cost("", rows, *weight);
    sum.flops += more.flops;
    sum.weight_bytes += more.weight_bytes;
    sum.activation_bytes += more.activation_bytes;
    sum.n += more.n;
  }
  return sum;
}

OpCost rows_cost(const char* name, double read, double written) {
  return {name, read + written, 0, (read + written) * sizeof(float)};
}

namespace {

struct SavedLinear {
  Tensor x;
  const PackedMatrix* weight;
  Tensor bias;
  SavedLowRank low;
};

void linear_backward(const Backward& b, const SavedLinear& s) {
  const Tensor d_y{DType::kF32, {s.x.rows(), s.weight->n()}, b.d_out().data};
  linear_gradients(b, {{d_y, {*s.weight, s.bias, s.low}}}, s.x, transpose_learnt(b, s.x, {s.weight}), 0,
                   b.adds());
}

void linear_residual_backward(const Backward& b, const SavedLinear& s) {
  const Tensor d_y{DType::kF32, {s.x.rows(), s.weight->n()}, b.d_out().data};
  const TransposedInput x = transpose_learnt(b, s.x, {s.weight, s.low.a_of_input()});
  linear_gradients(b, {{d_y, {*s.weight, s.bias, s.low}}}, s.x, x, 1, b.adds(1));
  pass_gradient(b);
}

}  // namespace

Tensor linear(Exec& ex, Tensor x, const PackedMatrix& weight, std::int64_t generated, Tensor bias) {
  const Tensor out = ex.output({x.rows(), weight.n()});
  tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, x, weight, generated);
  matmul_slice(ex, prepared, weight, out.f32(), bias.f32(), nullptr);
  if (ex.tracing())
    ex.record(linear_cost("linear", x.rows(), weight));
  else
    ex.barrier();
  if (Tape* tape = ex.recording())
    tape->record<linear_backward>(SavedLinear{x, &weight, bias, {}}, {out}, {x});
  return out;
}

void linear_residual(Exec& ex, Tensor x, const PackedMatrix& weight, std::int64_t generated, Tensor residual,
                     Tensor out, const Adapters& adapters, Tensor bias) {
  TW_CHECK(residual_fits(ex, residual, out, weight.n()), "a residual has the wrong shape");
  tensor::Arena::Scope kept(ex.arena(), ex.training());
  LowRankSum low(ex, adapters, 0, 1, generated);
  tensor::Arena::Scope scope(ex.arena());
  const Prepared prepared = prepare(ex, x, weight, generated);
  matmul_slice(ex, prepared, weight, out.f32(), bias.f32(), residual.f32());
  low.project(ex, x, prepared);
  if (ex.tracing()) {
    ex.record(linear_cost("linear_residual", x.rows(), weight));
    const auto elements = static_cast<double>(out.rows() * out.row_stride());
    ex.record(rows_cost("residual", 2 * elements, elements));
  } else {
    ex.barrier();
  }
  low.add_all(ex, {out});
  if (Tape* tape = ex.recording())
    tape->record<linear_residual_backward>(SavedLinear{x, &weight, bias, low.saved(0)}, {out}, {residual, x},
                                           true);
}

}  // namespace tw::ops
