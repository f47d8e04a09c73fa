// The gradient through a weight that is not learnt: no transpose of it is kept. Where the set has products of
// training in tiles (TrainMatmul), each worker makes a side of a panel of its columns and of some of the
// file's rows, in whatever type they have, and multiplies with it while it is in its cache. Else the rows are
// multiplied with as they lie (GradientMatmul), quantized ones made plain a panel of columns at a time.
#include <algorithm>

#include "kernels/ref/dequantize.h"
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows of W made plain at a time, on their way into a side.
constexpr std::int64_t kRowsAtOnce = 64;
/// A panel's columns, where one is not too large for a cache: as plain rows, as a side; and how large that
/// is.
constexpr std::int64_t kColumns = 128, kSideColumns = 512;
constexpr std::size_t kPanelBytes = 1 << 20;
/// Most rows of W that a side is made of: of all of a vocabulary's only a few columns would fit, and each
/// such panel reads all of d_y.
constexpr std::int64_t kSideRows = 1024;

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

bool is_plain(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

struct Panels {
  const PackedMatrix& weight;
  const kernels::TrainMatmul* sides;  ///< null: panels are plain
  std::int64_t block;                 ///< of the weight's type
  std::int64_t parts;                 ///< that rows are cut into
  std::int64_t columns;               ///< of a panel: a multiple of block
  std::size_t panel_bytes, rows_bytes;

  Panels(const Exec& ex, const PackedMatrix& w)
      : weight(w),
        sides(ex.table().frozen_side == nullptr ? nullptr : ex.table().train_matmul),
        block(std::max(32, base::dtype_info(w.type()).block_elements)),
        parts(sides == nullptr ? 1 : (w.n() + kSideRows - 1) / kSideRows),
        columns(columns_of()),
        panel_bytes(bytes_of(columns)),
        rows_bytes(sides == nullptr ? 0 : aligned(kRowsAtOnce * columns * sizeof(float))) {}

  /// Rows [part_begin(i), part_begin(i + 1)) are part i: whole blocks of the product's K.
  std::int64_t part_begin(std::int64_t part) const {
    return part == parts ? weight.n() : weight.n() * part / parts / 32 * 32;
  }
  /// Columns [begin, end) of a part's rows as a side, by way of `rows`.
  void fill_side(const Exec& ex, std::int64_t part, std::int64_t begin, std::int64_t end, float* rows,
                 std::byte* panel) const {
    const std::int64_t width = end - begin, first = part_begin(part), n = part_begin(part + 1) - first;
    if (is_plain(weight.type()))
      return ex.table().frozen_side({weight.type(), source(first, begin), weight.k(), width, 0, n, n, panel});
    for (std::int64_t at = 0; at < n; at += kRowsAtOnce) {
      const std::int64_t count = std::min(kRowsAtOnce, n - at);
      plain_rows(begin, width, first + at, count, rows);
      ex.table().frozen_side({DType::kF32, rows, width, width, at, at + count, n, panel});
    }
  }
  /// Columns [begin, end) of W as they are.
  void fill_rows(std::int64_t begin, std::int64_t end, std::byte* panel) const {
    plain_rows(begin, end - begin, 0, weight.n(), reinterpret_cast<float*>(panel));
  }

  /// Row n of W at a column that a block begins with.
  const std::byte* source(std::int64_t n, std::int64_t column) const {
    return static_cast<const std::byte*>(weight.source()) + n * base::row_bytes(weight.type(), weight.k()) +
           base::row_bytes(weight.type(), column);
  }

 private:
  /// Of a part.
  std::int64_t most_rows() const { return parts == 1 ? weight.n() : weight.n() / parts + 32; }
  std::int64_t columns_of() const {
    const std::size_t row = base::row_bytes(sides == nullptr ? DType::kF32 : DType::kBF16, most_rows());
    const auto fit = static_cast<std::int64_t>(kPanelBytes / row);
    return std::max(block, std::min(sides == nullptr ? kColumns : kSideColumns, fit) / block * block);
  }
  std::size_t bytes_of(std::int64_t count) const {
    if (sides != nullptr) return aligned(sides->kernel.packed_bytes(DType::kBF16, count, most_rows()));
    return is_plain(weight.type()) ? 0 : aligned(weight.n() * count * sizeof(float));
  }
  void plain_rows(std::int64_t begin, std::int64_t width, std::int64_t first, std::int64_t count,
                  float* out) const {
    for (std::int64_t i = 0; i < count; ++i)
      kernels::dequantize_row(weight.type(), source(first + i, begin), out + i * width, width,
                              kernels::palette_of_row(weight.type(), weight.palettes(), first + i));
  }
};

void by_sides(const Backward& b, const Panels& panels, const OutputGradient& y, Tensor d_x, bool add) {
  Exec& ex = b.ex;
  const PackedMatrix& weight = panels.weight;
  const std::int64_t n = weight.n(), k = weight.k(), rows = y.d_y.rows();
  const kernels::MatmulPath& path = panels.sides->kernel.decode;
  bool made = false;
  const void* left = y.as_is;
  if (left == nullptr) left = prepare_rows(ex, y.d_y, path, 0, rows, made).data;
  const std::size_t scratch = path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(rows, n);
  auto* memory = static_cast<std::byte*>(ex.scratch(panels.panel_bytes + panels.rows_bytes + scratch));
  if (ex.tracing()) return;
  if (made) ex.barrier();
  std::byte *plain = memory + panels.panel_bytes, *own = plain + panels.rows_bytes;
  ex.slice(k, panels.block, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t begin = first; begin < last; begin += panels.columns) {
      const std::int64_t end = std::min(begin + panels.columns, last);
      float* out = d_x.f32() + begin;
      for (std::int64_t part = 0; part < panels.parts; ++part) {
        panels.fill_side(ex, part, begin, end, reinterpret_cast<float*>(plain), memory);
        panels.sides->run_part({DType::kBF16, memory, 0, end - begin, end - begin, n, left, rows, out, k,
                                nullptr, add || part > 0 ? out : nullptr, own},
                               panels.part_begin(part), panels.part_begin(part + 1));
      }
    }
  });
}

void by_rows(const Backward& b, const Panels& panels, const OutputGradient& y, Tensor d_x, bool add) {
  Exec& ex = b.ex;
  const PackedMatrix& weight = panels.weight;
  const std::int64_t n = weight.n(), k = weight.k();
  const kernels::GradientMatmul& product = *ex.table().gradient_matmul;
  auto* memory = static_cast<std::byte*>(ex.scratch(panels.panel_bytes + product.scratch_bytes));
  if (ex.tracing()) return;
  const auto run = [&](DType type, const void* rows, std::int64_t stride, std::int64_t begin,
                       std::int64_t end) {
    float* out = d_x.f32() + begin;
    product.run({{type, rows, 0, end - begin, end - begin, n, y.d_y.data, y.d_y.rows(), out, k, nullptr,
                  add ? out : nullptr, memory + panels.panel_bytes},
                 false,
                 n,
                 stride});
  };
  ex.slice(k, panels.block, [&](std::int64_t first, std::int64_t last) {
    if (is_plain(weight.type())) return run(weight.type(), panels.source(0, first), k, first, last);
    for (std::int64_t begin = first; begin < last; begin += panels.columns) {
      const std::int64_t end = std::min(begin + panels.columns, last);
      panels.fill_rows(begin, end, memory);
      run(DType::kF32, memory, end - begin, begin, end);
    }
  });
}

}  // namespace

void frozen_input_gradient(const Backward& b, const OutputGradient& y, const PackedMatrix& weight, Tensor d_x,
                           bool add) {
  Exec& ex = b.ex;
  const Panels panels(ex, weight);
  const tensor::Arena::Scope scope(ex.arena());
  (panels.sides == nullptr ? by_rows : by_sides)(b, panels, y, d_x, add);
  if (ex.tracing()) return ex.record(linear_cost("input_gradient", y.d_y.rows(), weight));
  ex.barrier();
}

}  // namespace tw::ops
