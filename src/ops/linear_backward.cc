// Gradients of linear layers, as products of the kinds that the forward has: d_x = d_y · (Wᵀ)ᵀ with Wᵀ
// packed, and d_W = d_yᵀ · (xᵀ)ᵀ with both transposed here.
#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows of d_yᵀ that are multiplied at a time: bounds the scratch of paths that keep sums of all rows.
constexpr std::int64_t kRowsAtOnce = 1024;

/// Where the weight is one side of a TrainMatmul; else null.
const kernels::TrainMatmul* sides_of(const Exec& ex, const PackedMatrix& weight) {
  const kernels::TrainMatmul* matmul = ex.table().train_matmul;
  return matmul != nullptr && &weight.kernel() == &matmul->kernel ? matmul : nullptr;
}

/// How a weight's gradient is computed: as a prompt's product with xᵀ for a weight.
const kernels::MatmulPath& gradient_path(const Exec& ex, const PackedMatrix& weight) {
  TW_CHECK(sides_of(ex, weight) != nullptr || weight.packed().empty(),
           "a weight that is learnt lies in plain rows or as a side of a product");
  return path_of(ex, weight, true);
}

void transpose(Exec& ex, Tensor in, DType type, void* out) {
  const std::int64_t rows = in.rows(), columns = in.row_stride();
  ex.slice(columns, 16, [&](std::int64_t begin, std::int64_t end) {
    ex.table().train.transpose({in.f32(), columns, rows, begin, end, out, rows, type});
  });
}

/// xᵀ, of x [T, N], as a side of a product: N rows, T deep. No barrier.
void make_side(Exec& ex, void (*make)(const kernels::SideArgs&), Tensor x, std::int64_t grain, void* out) {
  const std::int64_t depth = x.rows(), rows = x.row_stride();
  ex.slice(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    make({x.f32(), rows, rows, depth, true, out, begin, end});
  });
}

/// d_yᵀ [N, T] as a path wants it, in pieces of kRowsAtOnce rows.
class TransposedGradient {
 public:
  TransposedGradient(Exec& ex, const OutputGradient& y, const PackedMatrix& weight)
      : n_(y.d_y.row_stride()), depth_(y.d_y.rows()), at_once_(kRowsAtOnce) {
    const Tensor d_y = y.d_y;
    const kernels::MatmulPath& path = gradient_path(ex, weight);
    if (y.transposed != nullptr) {
      at_once_ = n_;
      prepared_ = static_cast<const std::byte*>(y.transposed);
      return;
    }
    if (const kernels::TrainMatmul* matmul = sides_of(ex, weight)) {
      at_once_ = n_;
      std::byte* side = ex.arena().allocate(path.prepared_bytes(n_, depth_));
      if (!ex.tracing()) make_side(ex, matmul->make_left, d_y, path.prepare_rows, side);
      prepared_ = side;
      return;
    }
    const Tensor plain = ex.temporary({n_, depth_});
    plain_ = plain.f32();
    if (!ex.tracing()) transpose(ex, d_y, DType::kF32, plain.data);
    if (path.prepare == nullptr) return;
    piece_bytes_ = (path.prepared_bytes(at_once(), depth_) + 63) / 64 * 64;
    std::byte* pieces = ex.arena().allocate(piece_bytes_ * ((n_ + kRowsAtOnce - 1) / kRowsAtOnce));
    prepared_ = pieces;
    if (ex.tracing()) return;
    ex.barrier();
    for (std::int64_t row = 0; row < n_; row += kRowsAtOnce) {
      ex.slice(rows_of(row), path.prepare_rows, [&](std::int64_t from, std::int64_t to) {
        path.prepare(
            {plain_ + row * depth_, depth_, pieces + row / kRowsAtOnce * piece_bytes_, from, to, depth_});
      });
    }
  }
  std::int64_t at_once() const { return std::min(n_, at_once_); }
  std::int64_t rows_of(std::int64_t row) const { return std::min(n_ - row, at_once_); }
  const void* piece(std::int64_t row) const {
    if (prepared_ != nullptr) return prepared_ + row / at_once_ * piece_bytes_;
    return plain_ + row * depth_;
  }

 private:
  std::int64_t n_, depth_, at_once_, piece_bytes_ = 0;
  const float* plain_ = nullptr;
  const std::byte* prepared_ = nullptr;
};

OpCost product_cost(const char* name, std::int64_t rows, std::int64_t n, std::int64_t k,
                    double weight_bytes) {
  const auto t = static_cast<double>(rows);
  return {name, 2 * t * static_cast<double>(n) * static_cast<double>(k), weight_bytes,
          t * static_cast<double>(n + k) * sizeof(float)};
}

}  // namespace

TransposedInput transpose_input(Exec& ex, Tensor x, const PackedMatrix& weight) {
  const std::int64_t rows = x.rows(), width = x.row_stride();
  const DType type = weight.type();
  if (const kernels::TrainMatmul* matmul = sides_of(ex, weight)) {
    std::byte* out = ex.arena().allocate(matmul->kernel.packed_bytes(type, width, rows));
    if (!ex.tracing()) {
      make_side(ex, matmul->make_right, x, matmul->kernel.panel_rows, out);
      ex.barrier();
    }
    return {out, rows, width};
  }
  std::byte* out = ex.arena().allocate(base::row_bytes(type, rows) * width);
  if (!ex.tracing()) {
    transpose(ex, x, type, out);
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

OutputGradient both_sides(const Backward& b, Tensor d_y, const PackedMatrix& weight) {
  OutputGradient y(d_y);
  Exec& ex = b.ex;
  const kernels::TrainMatmul* matmul = sides_of(ex, weight);
  const Leaf* leaf = b.leaf(weight.tape_id());
  const std::int64_t rows = d_y.rows(), n = d_y.row_stride();
  if (matmul == nullptr || leaf == nullptr || leaf->gradient.shape.rank() == 0 || n % 32 != 0) return y;
  const kernels::MatmulPath& path = matmul->kernel.decode;
  std::byte* as_is = ex.arena().allocate(path.prepared_bytes(rows, n));
  std::byte* transposed = ex.arena().allocate(path.prepared_bytes(n, rows));
  y.as_is = as_is, y.transposed = transposed;
  if (ex.tracing()) return y;
  ex.slice(n, 32, [&](std::int64_t begin, std::int64_t end) {
    matmul->make_lefts({d_y.f32(), n, rows, n, as_is, transposed, begin, end});
  });
  ex.barrier();
  return y;
}

void add_weight_gradient(const Backward& b, const OutputGradient& y, const TransposedInput& x,
                         const PackedMatrix& weight) {
  const Tensor gradient = b.d_leaf(weight.tape_id());
  if (gradient.shape.rank() == 0) return;
  Exec& ex = b.ex;
  const std::int64_t n = weight.n(), k = weight.k(), depth = x.rows;
  const kernels::MatmulPath& path = gradient_path(ex, weight);
  const tensor::Arena::Scope scope(ex.arena());
  const TransposedGradient left(ex, y, weight);
  void* scratch = ex.scratch(path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(left.at_once(), depth));
  if (ex.tracing()) {
    return ex.record(product_cost("weight_gradient", depth, n, k, 2 * static_cast<double>(gradient.bytes())));
  }
  ex.barrier();
  ex.slice(k, path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < n; row += left.at_once()) {
      float* out = gradient.f32() + row * k;
      path.run({weight.type(), x.data, begin, end, k, depth, left.piece(row), left.rows_of(row), out, k,
                nullptr, out, scratch});
    }
  });
  ex.barrier();
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

void input_gradient(const Backward& b, const OutputGradient& y, const PackedMatrix& weight, Tensor d_x,
                    bool add) {
  Exec& ex = b.ex;
  const Tensor d_y = y.d_y;
  const Leaf* leaf = b.leaf(weight.tape_id());
  if (leaf == nullptr) return frozen_input_gradient(b, d_y, weight, d_x, add);
  TW_CHECK(leaf->transposed != nullptr, "gradients go through a weight's transpose");
  const PackedMatrix& transposed = *leaf->transposed;
  TW_CHECK(transposed.n() == weight.k() && transposed.k() == weight.n(),
           "a transposed weight has the wrong shape");
  const tensor::Arena::Scope scope(ex.arena());
  Prepared prepared;
  if (y.as_is != nullptr)
    prepared.prompt = {0, d_y.rows(), y.as_is, path_of(ex, transposed, true).prepare};
  else
    prepared = prepare(ex, d_y, transposed, 0);
  matmul_slice(ex, prepared, transposed, d_x.f32(), nullptr, add ? d_x.f32() : nullptr);
  if (ex.tracing()) return ex.record(linear_cost("input_gradient", d_y.rows(), transposed));
  ex.barrier();
}

void linear_gradients(const Backward& b, Tensor d_y, const TransposedInput& x, const PackedMatrix& weight,
                      Tensor bias, int input) {
  const tensor::Arena::Scope scope(b.ex.arena());
  const OutputGradient y = b.wants(input) ? both_sides(b, d_y, weight) : d_y;
  add_weight_gradient(b, y, x, weight);
  add_bias_gradient(b, d_y, bias);
  if (b.wants(input)) input_gradient(b, y, weight, b.d_in(input), b.adds(input));
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
