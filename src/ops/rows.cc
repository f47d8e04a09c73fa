// Ops that treat each row alone.
#include <cmath>
#include <cstring>

#include "kernels/ref/dequantize.h"
#include "ops/ops.h"

namespace tw::ops {

Tensor embed(Exec& ex, std::span<const std::int32_t> ids, const EmbeddingTable& table) {
  const auto rows = static_cast<std::int64_t>(ids.size());
  const Tensor out = ex.output({rows, table.width});
  const std::size_t row_bytes = base::row_bytes(table.type, table.width);
  if (ex.tracing()) {
    ex.record({"embed", 0, static_cast<double>(row_bytes) * rows, static_cast<double>(out.bytes())});
    return out;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      TW_CHECK(ids[t] >= 0 && ids[t] < table.vocab, "a token id is outside the vocabulary");
      const auto* row = static_cast<const std::byte*>(table.rows) + ids[t] * row_bytes;
      kernels::dequantize_row(table.type, row, out.f32() + t * table.width, table.width);
    }
  });
  ex.barrier();
  return out;
}

Tensor gather_rows(Exec& ex, Tensor x, std::span<const std::int32_t> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t width = x.row_stride();
  const Tensor out = ex.output({count, width});
  if (ex.tracing()) {
    ex.record({"gather_rows", 0, 0, 2.0 * static_cast<double>(out.bytes())});
    return out;
  }
  ex.slice(count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::memcpy(out.f32() + r * width, x.f32() + rows[r] * width, width * sizeof(float));
    }
  });
  ex.barrier();
  return out;
}

Tensor rms_norm(Exec& ex, Tensor x, Tensor weight, double epsilon) {
  const std::int64_t rows = x.rows(), width = weight.shape[0];
  TW_CHECK(rows == 0 || x.row_stride() == width, "rms_norm: the weight has another width than the rows");
  const Tensor out = ex.output(x.shape);
  if (ex.tracing()) {
    ex.record({"rms_norm", 4.0 * rows * width, static_cast<double>(weight.bytes()),
               2.0 * static_cast<double>(x.bytes())});
    return out;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    ex.table().rms_norm(
        {x.f32(), out.f32(), weight.f32(), begin, end, width, width, static_cast<float>(epsilon)});
  });
  ex.barrier();
  return out;
}

RopeTable rope_table(Exec& ex, std::span<const std::int32_t> positions,
                     std::span<const float> inverse_frequencies) {
  const auto rows = static_cast<std::int64_t>(positions.size());
  const auto half = static_cast<std::int64_t>(inverse_frequencies.size());
  const RopeTable table{ex.output({rows, half}), ex.output({rows, half})};
  if (ex.tracing()) {
    ex.record({"rope_table", 2.0 * rows * half, 0, 2.0 * static_cast<double>(table.cos.bytes())});
    return table;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[t]) * inverse_frequencies[i];
        table.cos.f32()[t * half + i] = std::cos(angle);
        table.sin.f32()[t * half + i] = std::sin(angle);
      }
    }
  });
  ex.barrier();
  return table;
}

}  // namespace tw::ops
