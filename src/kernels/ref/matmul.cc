#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {
namespace {

// Sixteen partial sums, so that compilers can use vectors without being allowed to reorder additions.
constexpr int kLanes = 16;

float dot(const float* a, const float* b, std::int64_t n) {
  float partial[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) partial[lane] += a[i + lane] * b[i + lane];
  }
  float tail = 0;
  for (; i < n; ++i) tail += a[i] * b[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) partial[lane] += partial[lane + width];
  }
  return partial[0] + tail;
}

std::int64_t scratch_bytes(std::int64_t, std::int64_t k) {
  return (k + kLanes) * static_cast<std::int64_t>(sizeof(float));
}

/// row_of(n, out) makes row n plain.
template <typename RowOf>
void run_rows(const MatmulArgs& a, const RowOf& row_of) {
  auto* weight_row = static_cast<float*>(a.scratch);
  for (std::int64_t n = a.n_begin; n < a.n_end; ++n) {
    row_of(n, weight_row);
    for (std::int64_t t = 0; t < a.rows; ++t) {
      const auto* x = static_cast<const float*>(a.x) + t * a.k;
      float y = dot(x, weight_row, a.k);
      if (a.bias != nullptr) y += a.bias[n];
      if (a.residual != nullptr) y += a.residual[t * a.out_stride + n];
      a.out[t * a.out_stride + n] = y;
    }
  }
}

void run(const MatmulArgs& a) {
  const std::size_t file_row = base::row_bytes(a.type, a.k);
  run_rows(a, [&](std::int64_t n, float* out) {
    dequantize_row(a.type, static_cast<const std::byte*>(a.weight) + n * file_row, out, a.k);
  });
}

/// A palettized matrix is packed as groups of rows: a table, then the codes of its rows as in the file.
struct Group {
  std::size_t table, row;

  Group(DType type, std::int64_t k)
      : table(std::size_t{2} << base::palette_bits(type)), row(base::row_bytes(type, k)) {}
  std::size_t bytes() const { return table + base::kPaletteRows * row; }
};

std::int64_t palette_bytes(DType type, std::int64_t n, std::int64_t k) {
  const std::int64_t groups = (n + base::kPaletteRows - 1) / base::kPaletteRows;
  return groups * static_cast<std::int64_t>(Group(type, k).bytes());
}

void pack_palette(const PackArgs& a) {
  const Group group(a.type, a.k);
  for (std::int64_t row = a.row_begin; row < a.row_end; row += base::kPaletteRows) {
    auto* out = static_cast<std::byte*>(a.packed) + row / base::kPaletteRows * group.bytes();
    const std::int64_t rows = std::min(base::kPaletteRows, a.row_end - row);
    std::memcpy(out, palette_of_row(a.type, a.palettes, row), group.table);
    std::memcpy(out + group.table, static_cast<const std::byte*>(a.source) + row * group.row,
                rows * group.row);
  }
}

void run_palette(const MatmulArgs& a) {
  const Group group(a.type, a.k);
  run_rows(a, [&](std::int64_t n, float* out) {
    const auto* table = static_cast<const std::byte*>(a.weight) + n / base::kPaletteRows * group.bytes();
    const auto* row = table + group.table + n % base::kPaletteRows * group.row;
    dequantize_row(a.type, row, out, a.k, table);
  });
}

constexpr MatmulKernel kPalette = {
    base::kPaletteRows,
    palette_bytes,
    pack_palette,
    {"ref fp32, from palettes", 1, nullptr, nullptr, 1, scratch_bytes, run_palette}};

constexpr std::int64_t kColumns = 64;  // outputs that are summed together

void run_gradient(const GradientMatmulArgs& a) {
  const auto* x = static_cast<const float*>(a.x);
  const std::size_t row_bytes = base::row_bytes(a.type, a.weight_stride);
  for (std::int64_t n = a.n_begin; n < a.n_end; n += kColumns) {
    const std::int64_t columns = std::min(kColumns, a.n_end - n);
    for (std::int64_t t = 0; t < a.rows; ++t) {
      float sums[kColumns] = {}, row[kColumns];
      for (std::int64_t k = 0; k < a.k; ++k) {
        dequantize_row(a.type,
                       static_cast<const std::byte*>(a.weight) + k * row_bytes + base::row_bytes(a.type, n),
                       row, columns);
        const float factor = a.x_turned ? x[k * a.x_stride + t] : x[t * a.x_stride + k];
        for (std::int64_t i = 0; i < columns; ++i) sums[i] += factor * row[i];
      }
      for (std::int64_t i = 0; i < columns; ++i) {
        const std::int64_t at = t * a.out_stride + n + i;
        if (a.bias != nullptr) sums[i] += a.bias[n + i];
        a.out[at] = sums[i] + (a.residual == nullptr ? 0 : a.residual[at]);
      }
    }
  }
}
constexpr GradientMatmul kGradient = {1, 0, run_gradient};

}  // namespace

const MatmulKernel kRefMatmul = {
    1, nullptr, nullptr, {"ref fp32", 1, nullptr, nullptr, 1, scratch_bytes, run}};

void ref_slots(const CpuFeatures&, KernelSlots& slots) {
  for (const MatmulKernel*& kernel : slots.matmul) kernel = &kRefMatmul;
  slots.matmul[static_cast<int>(DType::kPalette4)] = slots.matmul[static_cast<int>(DType::kPalette2)] =
      &kPalette;
  slots.rms_norm = ref_rms_norm;
  slots.rope = ref_rope;
  slots.store_kv = ref_store_kv;
  slots.attention = slots.prompt_attention = slots.train.dropped_attention = ref_attention;
  slots.merge_attention = ref_merge_attention;
  slots.silu_mul = ref_silu_mul;
  ref_train_slots(slots);
  slots.gradient_matmul = &kGradient;
  slots.read_sum = ref_read_sum;
  slots.peak = ref_peak;
}

}  // namespace tw::kernels
