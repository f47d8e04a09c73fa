// Gradients of linear layers: d_x = d_y · W and d_W = d_yᵀ · x, of sides in tiles where the set has them
// (TrainMatmul), else of plain rows as they lie (GradientMatmul).
#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// How a weight that is no side is multiplied for gradients.
const kernels::GradientMatmul& plain_product(const Exec& ex, const PackedMatrix& weight) {
  TW_CHECK(weight.packed().empty(), "a weight that is learnt lies in plain rows or as a side of a product");
  return *ex.table().gradient_matmul;
}

/// xᵀ, of x [T, N], as a side of a product: N rows, T deep. No barrier.
void make_side(Exec& ex, void (*make)(const kernels::SideArgs&), Tensor x, std::int64_t grain, void* out) {
  const std::int64_t depth = x.rows(), rows = x.row_stride();
  ex.slice(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    make({x.f32(), rows, rows, depth, true, out, begin, end});
  });
}

/// This worker's part of left [rows, K] · Wᵀ of a weight W [N, K] that is a side of a product, or with
/// `turned` of left [rows, N] · W, rounded: a left side. Tracing, it only asks for scratch.
void run_rounded(Exec& ex, const PackedMatrix& weight, const void* left, std::int64_t rows, bool turned,
                 std::byte* side) {
  const kernels::TrainMatmul& matmul = *sides_of(ex, weight);
  const std::int64_t n = turned ? weight.k() : weight.n(), depth = turned ? weight.n() : weight.k();
  void* scratch = ex.scratch(matmul.rounded_scratch_bytes(depth));
  if (ex.tracing()) return;
  slice_sides(
      ex, {weight.type(), weight.data(), 0, n, n, depth, left, rows, nullptr, n, nullptr, nullptr, scratch},
      [&](const kernels::MatmulArgs& args, std::int64_t row) {
        matmul.run_rounded(args, turned, side + matmul.kernel.decode.prepared_bytes(row, n));
      });
}

OpCost product_cost(const char* name, std::int64_t rows, std::int64_t n, std::int64_t k,
                    double weight_bytes) {
  const auto t = static_cast<double>(rows);
  return {name, 2 * t * static_cast<double>(n) * static_cast<double>(k), weight_bytes,
          t * static_cast<double>(n + k) * sizeof(float)};
}

}  // namespace

TransposedInput transpose_input(Exec& ex, Tensor x, const PackedMatrix& weight) {
  const std::int64_t rows = x.rows(), width = x.row_stride();
  const kernels::TrainMatmul* matmul = sides_of(ex, weight);
  if (matmul == nullptr) return {x.data, rows, width};
  std::byte* out = ex.arena().allocate(matmul->kernel.packed_bytes(weight.type(), width, rows));
  if (!ex.tracing()) {
    make_side(ex, matmul->make_right, x, matmul->kernel.panel_rows, out);
    ex.barrier();
  }
  return {out, rows, width};
}

TransposedInput transpose_learnt(const Backward& b, Tensor x,
                                 std::initializer_list<const PackedMatrix*> weights) {
  const PackedMatrix* learnt = nullptr;
  for (const PackedMatrix* weight : weights) {
    if (weight == nullptr || b.d_leaf(weight->tape_id()).shape.rank() == 0) continue;
    TW_CHECK(learnt == nullptr || weight->type() == learnt->type(),
             "weights that are learnt from one input have one type");
    learnt = weight;
  }
  return learnt == nullptr ? TransposedInput{} : transpose_input(b.ex, x, *learnt);
}

const kernels::TrainMatmul* both_sides_of(const Exec& ex, const PackedMatrix& weight) {
  const Leaf* leaf = ex.tape()->leaf(weight.tape_id());
  const bool learnt = leaf != nullptr && leaf->gradient.shape.rank() != 0;
  return learnt && weight.n() % 32 == 0 ? sides_of(ex, weight) : nullptr;
}

bool rounds_frozen(const Exec& ex, const PackedMatrix& weight) {
  return ex.tape()->leaf(weight.tape_id()) == nullptr && ex.table().train_matmul != nullptr &&
         weight.n() % 32 == 0 && path_of(ex, weight, true).run_rounded != nullptr;
}

LeftSides::LeftSides(Exec& ex, const kernels::TrainMatmul& matmul, std::int64_t rows, std::int64_t n,
                     bool with_transposed)
    : as_is(ex.arena().allocate(matmul.kernel.decode.prepared_bytes(rows, n))), transposed(nullptr) {
  if (with_transposed) transposed = ex.arena().allocate(matmul.kernel.decode.prepared_bytes(n, rows));
}

OutputGradient make_both_sides(const Backward& b, Tensor d_y, const PackedMatrix& weight) {
  OutputGradient y(d_y);
  Exec& ex = b.ex;
  const kernels::TrainMatmul* matmul = both_sides_of(ex, weight);
  if (matmul == nullptr) return y;
  const std::int64_t rows = d_y.rows(), n = d_y.row_stride();
  const LeftSides sides(ex, *matmul, rows, n);
  y.as_is = sides.as_is, y.transposed = sides.transposed;
  if (ex.tracing()) return y;
  ex.slice(rows, 32, [&](std::int64_t begin, std::int64_t end) {
    matmul->make_lefts({d_y.f32(), n, rows, n, sides.as_is, sides.transposed, begin, end});
  });
  return y;
}

OutputGradient both_sides(const Backward& b, Tensor d_y, const PackedMatrix& weight) {
  const OutputGradient y = make_both_sides(b, d_y, weight);
  if (y.as_is != nullptr && !b.ex.tracing()) b.ex.barrier();
  return y;
}

void rounded_matmul_slice(Exec& ex, const Prepared& x, const PackedMatrix& weight, std::byte* side) {
  if (sides_of(ex, weight) != nullptr)
    return run_rounded(ex, weight, x.prompt.data, x.prompt.rows, false, side);
  const kernels::MatmulPath& path = path_of(ex, weight, true);
  void* scratch = ex.scratch(ex.table().train_matmul->rounded_scratch_bytes(weight.k()));
  if (ex.tracing()) return;
  ex.slice(weight.n(), path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
    path.run_rounded({weight.type(), weight.data(), begin, end, weight.n(), weight.k(), x.prompt.data,
                      x.prompt.rows, nullptr, weight.n(), nullptr, nullptr, scratch},
                     side);
  });
}

void add_weight_gradient(const Backward& b, const OutputGradient& y, const TransposedInput& x,
                         const PackedMatrix& weight) {
  const Tensor gradient = b.d_leaf(weight.tape_id());
  if (gradient.shape.rank() == 0) return;
  Exec& ex = b.ex;
  const std::int64_t n = weight.n(), k = weight.k(), depth = x.rows;
  const kernels::TrainMatmul* matmul = sides_of(ex, weight);
  const tensor::Arena::Scope scope(ex.arena());
  float* const out = gradient.f32();
  const OpCost cost = product_cost("weight_gradient", depth, n, k, 2 * static_cast<double>(gradient.bytes()));
  if (matmul == nullptr) {
    const kernels::GradientMatmul& plain = plain_product(ex, weight);
    void* scratch = ex.scratch(plain.scratch_bytes);
    if (ex.tracing()) return ex.record(cost);
    ex.slice(k, plain.slice_columns, [&](std::int64_t begin, std::int64_t end) {
      plain.run({{DType::kF32, x.data, begin, end, k, depth, y.d_y.data, n, out, k, nullptr, out, scratch},
                 true,
                 n,
                 k});
    });
    return ex.barrier();
  }
  const kernels::MatmulPath& path = matmul->kernel.decode;
  const void* left = y.transposed;
  if (left == nullptr) {
    std::byte* side = ex.arena().allocate(path.prepared_bytes(n, depth));
    if (!ex.tracing()) {
      make_side(ex, matmul->make_left, y.d_y, path.prepare_rows, side);
      ex.barrier();
    }
    left = side;
  }
  void* scratch = ex.scratch(path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(n, depth));
  if (ex.tracing()) return ex.record(cost);
  ex.slice(k, path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
    path.run({weight.type(), x.data, begin, end, k, depth, left, n, out, k, nullptr, out, scratch});
  });
  if (left != y.transposed || !y.in_company) ex.barrier();
}

void add_bias_gradient(const Backward& b, Tensor d_y, Tensor bias) {
  const Tensor gradient = b.d_leaf(bias.tape_id);
  if (gradient.shape.rank() == 0 || b.ex.tracing()) return;
  const std::int64_t width = d_y.row_stride();
  b.ex.slice(width, 16, [&](std::int64_t begin, std::int64_t end) {
    b.ex.table().train.add_column_sums(
        {d_y.f32(), nullptr, nullptr, gradient.f32(), d_y.rows(), begin, end, width});
  });
  b.ex.barrier();
}

std::byte* rounded_input_gradient(const Backward& b, const OutputGradient& y, const PackedMatrix& weight) {
  Exec& ex = b.ex;
  const std::int64_t rows = y.d_y.rows();
  std::byte* side = ex.arena().allocate(weight.kernel().decode.prepared_bytes(rows, weight.k()));
  run_rounded(ex, weight, y.as_is, rows, true, side);
  if (ex.tracing())
    ex.record(linear_cost("input_gradient", rows, weight));
  else
    ex.barrier();
  return side;
}

void input_gradient(const Backward& b, const OutputGradient& y, const PackedMatrix& weight, Tensor d_x,
                    bool add) {
  Exec& ex = b.ex;
  const Tensor d_y = y.d_y;
  const Leaf* leaf = b.leaf(weight.tape_id());
  if (leaf == nullptr) return frozen_input_gradient(b, y, weight, d_x, add);
  const tensor::Arena::Scope scope(ex.arena());
  if (sides_of(ex, weight) == nullptr) {
    const kernels::GradientMatmul& plain = plain_product(ex, weight);
    const std::int64_t n = weight.n(), k = weight.k();
    void* scratch = ex.scratch(plain.scratch_bytes);
    if (ex.tracing()) return ex.record(linear_cost("input_gradient", d_y.rows(), weight));
    ex.slice(k, plain.slice_columns, [&](std::int64_t begin, std::int64_t end) {
      plain.run({{weight.type(), weight.data(), begin, end, k, n, d_y.data, d_y.rows(), d_x.f32(), k, nullptr,
                  add ? d_x.f32() : nullptr, scratch},
                 false,
                 n,
                 k});
    });
    return ex.barrier();
  }
  const kernels::TrainMatmul& matmul = *sides_of(ex, weight);
  const void* left = y.as_is;
  if (left == nullptr) {
    bool made = false;
    left = prepare_rows(ex, d_y, matmul.kernel.decode, 0, d_y.rows(), made).data;
    if (made && !ex.tracing()) ex.barrier();
  }
  const std::int64_t n = weight.k(), depth = weight.n();
  void* scratch = ex.scratch(matmul.kernel.decode.scratch_bytes(d_y.rows(), depth));
  if (ex.tracing()) return ex.record(linear_cost("input_gradient", d_y.rows(), weight));
  slice_sides(ex,
              {weight.type(), weight.data(), 0, n, n, depth, left, d_y.rows(), d_x.f32(), n, nullptr,
               add ? d_x.f32() : nullptr, scratch},
              [&](const kernels::MatmulArgs& args, std::int64_t) { matmul.run_turned(args); });
  if (left != y.as_is || !y.in_company) ex.barrier();
}

void pass_gradient(const Backward& b) {
  if (!b.wants() || !b.adds() || b.ex.tracing()) return;
  const Tensor from = b.d_out(), to = b.d_in();
  b.ex.slice(from.shape.elements(), 1024, [&](std::int64_t begin, std::int64_t end) {
    b.ex.table().train.add({from.f32(), to.f32(), begin, end});
  });
  b.ex.barrier();
}

}  // namespace tw::ops
