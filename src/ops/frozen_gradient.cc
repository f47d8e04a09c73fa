// The gradient through a weight that is not learnt: no transpose of it is kept. Each worker makes panels of
// columns of W plain, from the file's rows in whatever type they have, and multiplies with them while they
// are in its cache.
#include <algorithm>

#include "kernels/ref/dequantize.h"
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows of W made plain at a time, on their way into a panel.
constexpr std::int64_t kRowsAtOnce = 64;
/// A panel's columns, where one is not too large for a cache; and how large that is.
constexpr std::int64_t kColumns = 128;
constexpr std::size_t kPanelBytes = 1 << 20;

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

struct Panels {
  const PackedMatrix& weight;
  DType type;            ///< bf16 where the set multiplies prompts in it, else fp32
  std::int64_t block;    ///< of the weight's type
  std::int64_t columns;  ///< of a panel: a multiple of block
  const kernels::MatmulPath& path;
  std::size_t panel_bytes, rows_bytes;

  Panels(const Exec& ex, const PackedMatrix& w)
      : weight(w),
        type(ex.table().prefill[static_cast<int>(DType::kBF16)] != nullptr ? DType::kBF16 : DType::kF32),
        block(std::max(32, base::dtype_info(w.type()).block_elements)),
        columns(columns_of(type, w, block)),
        path(path_of_type(ex, type)),
        panel_bytes(aligned(base::row_bytes(type, w.n()) * columns)),
        rows_bytes(aligned(kRowsAtOnce * columns * sizeof(float))) {}

  static const kernels::MatmulPath& path_of_type(const Exec& ex, DType type) {
    const auto at = static_cast<std::size_t>(type);
    TW_CHECK(ex.table().matmul[at]->packed_bytes == nullptr, "panels are plain rows");
    return ex.table().prefill[at] != nullptr ? *ex.table().prefill[at] : ex.table().matmul[at]->decode;
  }
  static std::int64_t columns_of(DType type, const PackedMatrix& w, std::int64_t block) {
    const auto fit = static_cast<std::int64_t>(kPanelBytes / base::row_bytes(type, w.n()));
    return std::max(block, std::min(kColumns, fit) / block * block);
  }

  /// Columns [begin, end) of W as rows of a panel [end - begin, N].
  void fill(const Exec& ex, std::int64_t begin, std::int64_t end, float* rows, std::byte* panel) const {
    const std::size_t stride = base::row_bytes(weight.type(), weight.k());
    const auto* source =
        static_cast<const std::byte*>(weight.source()) + base::row_bytes(weight.type(), begin);
    for (std::int64_t n = 0; n < weight.n(); n += kRowsAtOnce) {
      const std::int64_t count = std::min(kRowsAtOnce, weight.n() - n);
      for (std::int64_t i = 0; i < count; ++i)
        kernels::dequantize_row(weight.type(), source + (n + i) * stride, rows + i * (end - begin),
                                end - begin,
                                kernels::palette_of_row(weight.type(), weight.palettes(), n + i));
      ex.table().train.transpose(
          {rows, end - begin, count, 0, end - begin, panel + base::row_bytes(type, n), weight.n(), type});
    }
  }
};

}  // namespace

void frozen_input_gradient(const Backward& b, Tensor d_y, const PackedMatrix& weight, Tensor d_x, bool add) {
  Exec& ex = b.ex;
  const std::int64_t n = weight.n(), k = weight.k(), rows = d_y.rows();
  const Panels panels(ex, weight);
  const tensor::Arena::Scope scope(ex.arena());
  bool made = false;
  const PreparedRows prepared = prepare_rows(ex, d_y, panels.path, 0, rows, made);
  const std::size_t scratch = panels.path.scratch_bytes == nullptr ? 0 : panels.path.scratch_bytes(rows, n);
  auto* memory = static_cast<std::byte*>(ex.scratch(panels.panel_bytes + panels.rows_bytes + scratch));
  if (ex.tracing()) return ex.record(linear_cost("input_gradient", rows, weight));
  if (made) ex.barrier();
  std::byte *plain = memory + panels.panel_bytes, *own = plain + panels.rows_bytes;
  ex.slice(k, panels.block, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t begin = first; begin < last; begin += panels.columns) {
      const std::int64_t end = std::min(begin + panels.columns, last);
      panels.fill(ex, begin, end, reinterpret_cast<float*>(plain), memory);
      float* out = d_x.f32() + begin;
      panels.path.run({panels.type, memory, 0, end - begin, end - begin, n, prepared.data, rows, out, k,
                       nullptr, add ? out : nullptr, own});
    }
  });
  ex.barrier();
}

}  // namespace tw::ops
