// Ops that treat each row alone.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ref/dequantize.h"
#include "ops/norm.h"
#include "ops/ops.h"

namespace tw::ops {

namespace {

struct SavedEmbed {
  std::span<const std::int32_t> ids, positions;
  std::int64_t width;
  std::int32_t table, position_table;
};

/// gradient[ids[t]] += d_out[t]. Rows are taken in the order of their ids and then of their places, so that
/// sums have one order; a worker has all rows of an id.
void scatter(const Backward& b, std::span<const std::int32_t> ids, std::int64_t width, Tensor gradient) {
  const auto rows = static_cast<std::int64_t>(ids.size());
  auto* order = reinterpret_cast<std::int32_t*>(b.ex.arena().allocate(ids.size_bytes()));
  if (gradient.shape.rank() == 0 || b.ex.tracing()) return;
  if (b.ex.worker() == 0) {
    for (std::int64_t t = 0; t < rows; ++t) order[t] = static_cast<std::int32_t>(t);
    std::sort(order, order + rows,
              [&](auto x, auto y) { return ids[x] != ids[y] ? ids[x] < ids[y] : x < y; });
  }
  b.ex.barrier();
  const auto id = [&](std::int64_t i) { return ids[order[i]]; };
  b.ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    while (begin > 0 && begin < end && id(begin) == id(begin - 1)) ++begin;
    for (std::int64_t i = begin; i < rows && (i < end || (begin < end && id(i) == id(i - 1))); ++i) {
      const float* from = b.d_out().f32() + order[i] * width;
      b.ex.table().train.add({from, gradient.f32() + id(i) * width, 0, width});
    }
  });
  b.ex.barrier();
}

void embed_backward(const Backward& b, const SavedEmbed& s) {
  scatter(b, s.ids, s.width, b.d_leaf(s.table));
  if (!s.positions.empty()) scatter(b, s.positions, s.width, b.d_leaf(s.position_table));
}

/// Row `row` of the table, whatever its type is.
void look_up(const EmbeddingTable& table, std::int32_t row, float* out) {
  TW_CHECK(row >= 0 && row < table.vocab, "a token id or a position is outside its table");
  const auto* from =
      static_cast<const std::byte*>(table.rows) + row * base::row_bytes(table.type, table.width);
  kernels::dequantize_row(table.type, from, out, table.width,
                          kernels::palette_of_row(table.type, table.palettes, row));
}

}  // namespace

Tensor embed(Exec& ex, std::span<const std::int32_t> ids, const EmbeddingTable& table,
             const LearnedPositions* learned) {
  const auto rows = static_cast<std::int64_t>(ids.size());
  const std::int64_t width = table.width;
  TW_CHECK(learned == nullptr || (learned->table.width == width && learned->positions.size() == ids.size()),
           "embed: positions do not fit");
  Tensor out = ex.output({rows, width});
  const std::int32_t position_table = learned == nullptr ? -1 : learned->table.tape_id;
  if (table.tape_id < 0 && position_table < 0) out.tape_id = -1;  // frozen: no gradient need come here
  if (Tape* tape = out.tape_id < 0 ? nullptr : ex.recording()) {
    const auto positions = learned == nullptr ? std::span<const std::int32_t>() : learned->positions;
    tape->record<embed_backward>(SavedEmbed{ids, positions, width, table.tape_id, position_table}, {out}, {});
  }
  auto* position = learned == nullptr ? nullptr : static_cast<float*>(ex.scratch(width * sizeof(float)));
  if (ex.tracing()) {
    ex.record({"embed", 0, static_cast<double>(base::row_bytes(table.type, width) * rows),
               static_cast<double>(out.bytes())});
    const auto all = static_cast<double>(rows * width);
    if (learned != nullptr) ex.record({"add_positions", 3 * all, 0, 3 * all * sizeof(float)});
    return out;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = out.f32() + t * width;
      look_up(table, ids[t], row);
      if (learned == nullptr) continue;
      look_up(learned->table, learned->positions[t], position);
      ex.table().train.add({position, row, 0, width});
    }
  });
  ex.barrier();
  return out;
}

namespace {

struct SavedRows {
  std::span<const std::int32_t> rows;
  std::int64_t width;
};

/// Cut along columns: a row may be asked for twice.
void gather_rows_backward(const Backward& b, const SavedRows& s) {
  if (!b.wants() || b.ex.tracing()) return;
  const Tensor to = b.d_in();
  const std::int64_t all = to.shape.elements() / s.width;
  b.ex.slice(s.width, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = 0; t < all && !b.adds(); ++t)
      std::fill(to.f32() + t * s.width + begin, to.f32() + t * s.width + end, 0.0F);
    for (std::size_t r = 0; r < s.rows.size(); ++r) {
      const float* from = b.d_out().f32() + static_cast<std::int64_t>(r) * s.width;
      b.ex.table().train.add({from, to.f32() + s.rows[r] * s.width, begin, end});
    }
  });
  b.ex.barrier();
}

}  // namespace

void copy(Exec& ex, Tensor x, Tensor to) {
  TW_CHECK(ex.tape() == nullptr && x.shape == to.shape, "copy: a tape, or another shape");
  if (ex.tracing()) return ex.record({"copy", 0, 0, 2.0 * static_cast<double>(x.bytes())});
  if (x.data == to.data) return;
  const std::int64_t width = x.row_stride();
  ex.slice(x.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to.f32() + begin * width, x.f32() + begin * width, (end - begin) * width * sizeof(float));
  });
  ex.barrier();
}

Tensor gather_rows(Exec& ex, Tensor x, std::span<const std::int32_t> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t width = x.row_stride();
  const Tensor out = ex.output({count, width});
  if (Tape* tape = ex.recording()) tape->record<gather_rows_backward>(SavedRows{rows, width}, {out}, {x});
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

namespace {

struct SavedNorm {
  Tensor x, weight;
  float epsilon;
};

void rms_norm_backward(const Backward& b, const SavedNorm& s) {
  Tensor d_x;
  if (b.wants()) d_x = b.d_in();
  norm_gradients(b, {s.x, b.d_out(), d_x, s.weight, s.epsilon, b.wants() && b.adds()});
}

}  // namespace

void norm_gradients(const Backward& b, const NormGradients& n) {
  const std::int64_t width = n.weight.shape[0], rows = n.x.shape.elements() / width;
  const Tensor inverse = b.ex.temporary({rows}),
               unwanted = n.d_x.shape.rank() == 0 ? b.ex.temporary(n.x.shape) : n.d_x;
  if (b.ex.tracing()) {
    return b.ex.record({"rms_norm_backward", 8.0 * rows * width, static_cast<double>(n.weight.bytes()),
                        3.0 * static_cast<double>(n.x.bytes())});
  }
  b.ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    b.ex.table().train.rms_norm_backward({n.x.f32(), n.weight.f32(), n.d_out.f32(), unwanted.f32(),
                                          inverse.f32(), begin, end, width, n.epsilon, n.add});
  });
  b.ex.barrier();
  const Tensor gradient = b.d_leaf(n.weight.tape_id);
  if (gradient.shape.rank() == 0) return;
  b.ex.slice(width, 16, [&](std::int64_t begin, std::int64_t end) {
    b.ex.table().train.add_column_sums(
        {n.d_out.f32(), n.x.f32(), inverse.f32(), gradient.f32(), rows, begin, end, width});
  });
  b.ex.barrier();
}

Tensor rms_norm(Exec& ex, Tensor x, Tensor weight, double epsilon) {
  const std::int64_t rows = x.rows(), width = weight.shape[0];
  TW_CHECK(rows == 0 || x.row_stride() == width, "rms_norm: the weight has another width than the rows");
  const Tensor out = ex.output(x.shape);
  if (Tape* tape = ex.recording())
    tape->record<rms_norm_backward>(SavedNorm{x, weight, static_cast<float>(epsilon)}, {out}, {x});
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
  RopeTable table{ex.temporary({rows, half}), ex.temporary({rows, half}), {}};
  if (ex.training()) table.negative_sin = ex.temporary({rows, half});
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
        if (ex.training()) table.negative_sin.f32()[t * half + i] = -std::sin(angle);
      }
    }
  });
  ex.barrier();
  return table;
}

}  // namespace tw::ops
