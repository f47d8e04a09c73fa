#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

struct SavedLayerNorm {
  Tensor x, weight, bias;
  float epsilon;
};

void layer_norm_backward(const Backward& b, const SavedLayerNorm& s) {
  const std::int64_t width = s.weight.shape[0], rows = s.x.shape.elements() / width;
  const Tensor units = b.ex.temporary(s.x.shape), d_x = b.wants() ? b.d_in() : b.ex.temporary(s.x.shape);
  if (b.ex.tracing()) {
    return b.ex.record({"layer_norm_backward", 12.0 * static_cast<double>(rows * width),
                        static_cast<double>(s.weight.bytes()), 4.0 * static_cast<double>(s.x.bytes())});
  }
  b.ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    b.ex.table().train.layer_norm_backward({s.x.f32(), s.weight.f32(), b.d_out().f32(), d_x.f32(),
                                            units.f32(), begin, end, width, s.epsilon,
                                            b.wants() && b.adds()});
  });
  b.ex.barrier();
  const Tensor gradient = b.d_leaf(s.weight.tape_id);
  if (gradient.shape.rank() > 0) {
    b.ex.slice(width, 16, [&](std::int64_t begin, std::int64_t end) {
      b.ex.table().train.add_column_sums(
          {b.d_out().f32(), units.f32(), nullptr, gradient.f32(), rows, begin, end, width});
    });
  }
  add_bias_gradient(b, {DType::kF32, {rows, width}, b.d_out().data}, s.bias);
  b.ex.barrier();
}

}  // namespace

Tensor layer_norm(Exec& ex, Tensor x, Tensor weight, Tensor bias, double epsilon) {
  const std::int64_t rows = x.rows(), width = weight.shape[0];
  TW_CHECK((rows == 0 || x.row_stride() == width) && bias.shape == weight.shape,
           "layer_norm: weight, bias and rows have widths that do not fit");
  const Tensor out = ex.output(x.shape);
  const auto rounded = static_cast<float>(epsilon);
  if (Tape* tape = ex.recording())
    tape->record<layer_norm_backward>(SavedLayerNorm{x, weight, bias, rounded}, {out}, {x});
  if (ex.tracing()) {
    OpCost cost =
        rows_cost("layer_norm", static_cast<double>(rows * width), static_cast<double>(rows * width));
    cost.flops = 7 * static_cast<double>(rows * width);
    cost.weight_bytes = static_cast<double>(weight.bytes() + bias.bytes());
    ex.record(std::move(cost));
    return out;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    ex.table().layer_norm({x.f32(), out.f32(), weight.f32(), bias.f32(), begin, end, width, rounded});
  });
  ex.barrier();
  return out;
}

}  // namespace tw::ops
