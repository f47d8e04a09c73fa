// The gradient through a weight that is not learnt: no transpose of it is kept. Each worker makes panels of
// columns of W from the file's rows in whatever type they have, as the set's products of training want them
// (TrainMatmul) or plain, and multiplies with them while they are in its cache.
#include <algorithm>

#include "kernels/ref/dequantize.h"
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows of W made plain at a time, on their way into a panel.
constexpr std::int64_t kRowsAtOnce = 64;
/// A panel's columns, where one is not too large for a cache: as plain rows, as a side; and how large that
/// is.
constexpr std::int64_t kColumns = 128, kSideColumns = 512;
constexpr std::size_t kPanelBytes = 1 << 20;

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// How gradients go through weights: bf16 sides, bf16 rows where the set multiplies prompts in it, else fp32.
struct Way {
  bool sides;
  DType type;
  const kernels::MatmulPath& path;

  explicit Way(const Exec& ex)
      : sides(ex.table().frozen_side != nullptr && ex.table().train_matmul != nullptr),
        type(sides || ex.table().bf16_prompts() ? DType::kBF16 : DType::kF32),
        path(sides ? ex.table().train_matmul->kernel.decode : path_of_type(ex, type)) {}

  static const kernels::MatmulPath& path_of_type(const Exec& ex, DType type) {
    const auto at = static_cast<std::size_t>(type);
    TW_CHECK(ex.table().matmul[at]->packed_bytes == nullptr, "panels are plain rows");
    return ex.table().prefill[at] != nullptr ? *ex.table().prefill[at] : ex.table().matmul[at]->decode;
  }
};

struct Panels {
  const PackedMatrix& weight;
  Way way;
  std::int64_t block;    ///< of the weight's type
  std::int64_t columns;  ///< of a panel: a multiple of block
  std::size_t panel_bytes, rows_bytes;

  Panels(const Exec& ex, const PackedMatrix& w)
      : weight(w),
        way(ex),
        block(std::max(32, base::dtype_info(w.type()).block_elements)),
        columns(columns_of(way, w, block)),
        panel_bytes(bytes_of(ex, columns)),
        rows_bytes(aligned(kRowsAtOnce * columns * sizeof(float))) {}

  static std::int64_t columns_of(const Way& way, const PackedMatrix& w, std::int64_t block) {
    const auto fit = static_cast<std::int64_t>(kPanelBytes / base::row_bytes(way.type, w.n()));
    return std::max(block, std::min(way.sides ? kSideColumns : kColumns, fit) / block * block);
  }
  std::size_t bytes_of(const Exec& ex, std::int64_t count) const {
    if (!way.sides) return aligned(base::row_bytes(way.type, weight.n()) * count);
    return aligned(ex.table().train_matmul->kernel.packed_bytes(way.type, count, weight.n()));
  }

  /// Columns [begin, end) of W as a panel [end - begin, N], by way of `rows`.
  void fill(const Exec& ex, std::int64_t begin, std::int64_t end, float* rows, std::byte* panel) const {
    const std::size_t stride = base::row_bytes(weight.type(), weight.k());
    const auto* source =
        static_cast<const std::byte*>(weight.source()) + base::row_bytes(weight.type(), begin);
    const bool plain =
        weight.type() == DType::kF32 || weight.type() == DType::kF16 || weight.type() == DType::kBF16;
    if (way.sides && plain)
      return ex.table().frozen_side(
          {weight.type(), source, weight.k(), end - begin, 0, weight.n(), weight.n(), panel});
    for (std::int64_t n = 0; n < weight.n(); n += kRowsAtOnce) {
      const std::int64_t count = std::min(kRowsAtOnce, weight.n() - n);
      for (std::int64_t i = 0; i < count; ++i)
        kernels::dequantize_row(weight.type(), source + (n + i) * stride, rows + i * (end - begin),
                                end - begin,
                                kernels::palette_of_row(weight.type(), weight.palettes(), n + i));
      add_rows(ex, rows, n, count, end - begin, panel);
    }
  }

 private:
  /// Rows [n, n + count) of W, made plain.
  void add_rows(const Exec& ex, const float* rows, std::int64_t n, std::int64_t count, std::int64_t width,
                std::byte* panel) const {
    if (way.sides)
      return ex.table().frozen_side({DType::kF32, rows, width, width, n, n + count, weight.n(), panel});
    ex.table().train.transpose(
        {rows, width, count, 0, width, panel + base::row_bytes(way.type, n), weight.n(), way.type});
  }
};

}  // namespace

void frozen_input_gradient(const Backward& b, Tensor d_y, const PackedMatrix& weight, Tensor d_x, bool add) {
  Exec& ex = b.ex;
  const std::int64_t n = weight.n(), k = weight.k(), rows = d_y.rows();
  const Panels panels(ex, weight);
  const kernels::MatmulPath& path = panels.way.path;
  const tensor::Arena::Scope scope(ex.arena());
  bool made = false;
  const PreparedRows prepared = prepare_rows(ex, d_y, path, 0, rows, made);
  const std::size_t scratch = path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(rows, n);
  auto* memory = static_cast<std::byte*>(ex.scratch(panels.panel_bytes + panels.rows_bytes + scratch));
  if (ex.tracing()) return ex.record(linear_cost("input_gradient", rows, weight));
  if (made) ex.barrier();
  std::byte *plain = memory + panels.panel_bytes, *own = plain + panels.rows_bytes;
  ex.slice(k, panels.block, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t begin = first; begin < last; begin += panels.columns) {
      const std::int64_t end = std::min(begin + panels.columns, last);
      panels.fill(ex, begin, end, reinterpret_cast<float*>(plain), memory);
      float* out = d_x.f32() + begin;
      path.run({panels.way.type, memory, 0, end - begin, end - begin, n, prepared.data, rows, out, k, nullptr,
                add ? out : nullptr, own});
    }
  });
  ex.barrier();
}

}  // namespace tw::ops
