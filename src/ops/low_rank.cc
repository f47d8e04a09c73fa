#include "ops/low_rank.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tw::ops {
namespace {

/// Rows that a worker takes at a time.
constexpr std::int64_t kRowsAtOnce = 64;

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Of so many rows of k numbers as `path` wants them; 0: fp32 as they are.
std::size_t prepared_bytes(const kernels::MatmulPath& path, std::int64_t rows, std::int64_t k) {
  return path.prepare == nullptr ? 0 : aligned(path.prepared_bytes(rows, k));
}

std::size_t scratch_bytes(const kernels::MatmulPath& path, std::int64_t rows, std::int64_t k) {
  return path.scratch_bytes == nullptr ? 0 : path.scratch_bytes(rows, k);
}

/// Rows of a chunk against weight rows [begin, end); `out` and `add` have the weight's n() columns.
void multiply(const kernels::MatmulPath& path, const PackedMatrix& weight, const void* x, std::int64_t rows,
              std::int64_t begin, std::int64_t end, float* out, const float* add, void* scratch) {
  path.run({weight.type(), weight.data(), begin, end, weight.n(), weight.k(), x, rows, out, weight.n(),
            nullptr, add, scratch});
}

}  // namespace

/// One run's addition to one layer.
struct LowRankSum::Part {
  const LowRank& low;
  const kernels::MatmulPath &a_path, &b_path;
  std::int64_t layer, begin, rows;  ///< begin: in x
  std::uint32_t site;               ///< of dropout
  std::int64_t middle;              ///< where its numbers begin in middles_
  std::size_t prepared;             ///< and in prepared_middles_

  std::int64_t chunks() const { return (rows + kRowsAtOnce - 1) / kRowsAtOnce; }
  std::int64_t rows_of(std::int64_t chunk) const { return std::min(kRowsAtOnce, rows - chunk * kRowsAtOnce); }
  std::int64_t rank() const { return low.a->n(); }
  std::size_t chunk_bytes() const { return prepared_bytes(b_path, kRowsAtOnce, rank()); }
};

template <typename F>
void LowRankSum::for_parts(const Exec& ex, F&& f) const {
  std::int64_t middle = 0;
  std::size_t prepared = 0;
  for (const AdapterRun& run : adapters_.runs) {
    const bool prompt = run.begin >= generated_;
    for (std::int64_t i = 0; i < count_; ++i) {
      const LowRank& low = run.linears[linear_ + i];
      if (low.a == nullptr) continue;
      const Part part{low,
                      path_of(ex, *low.a, prompt),
                      path_of(ex, *low.b, prompt),
                      i,
                      run.begin - first_row_,
                      run.end - run.begin,
                      adapter_site(linear_ + i),
                      middle,
                      prepared};
      f(part);
      middle += part.rows * part.rank();
      prepared += part.chunks() * part.chunk_bytes();
    }
  }
}

bool adapts(const Adapters& adapters, int first, int count) {
  return std::any_of(adapters.runs.begin(), adapters.runs.end(), [&](const AdapterRun& run) {
    const LowRank* begin = run.linears + adapters.linear + first;
    return std::any_of(begin, begin + count, [](const LowRank& low) { return low.a != nullptr; });
  });
}

LowRankSum::LowRankSum(Exec& ex, const Adapters& adapters, int first, int count, std::int64_t generated,
                       std::int64_t first_row)
    : adapters_(adapters),
      linear_(adapters.linear + first),
      count_(count),
      generated_(generated),
      first_row_(first_row),
      drops_(ex.training() && ex.dropout().adapters > 0) {
  if (adapters.runs.empty()) return;
  for_parts(ex, [&](const Part& part) {
    floats_ += part.rows * part.rank();
    prepared_ += part.chunks() * part.chunk_bytes();
  });
  if (floats_ == 0) return;
  TW_CHECK(!ex.training() || adapters.runs.size() == 1, "in training one adapter is learnt by all rows");
  middles_ = ex.temporary({floats_}).f32();
  prepared_middles_ = ex.arena().allocate(prepared_);
}

void LowRankSum::project(Exec& ex, Tensor x, const Prepared& prepared) {
  if (empty()) return;
  std::size_t scratch = 0;
  for_parts(ex, [&](const Part& part) {
    const std::int64_t rows = std::min(kRowsAtOnce, part.rows);
    TW_CHECK(x.row_stride() == part.low.a->k() && part.rank() == part.low.b->k(), "an adapter's shapes fit");
    scratch = std::max(scratch, kept_bytes(part, rows) + prepared_bytes(part.a_path, rows, part.low.a->k()) +
                                    scratch_bytes(part.a_path, rows, part.low.a->k()));
    scratch = std::max(scratch, scratch_bytes(part.b_path, rows, part.rank()));
    if (!ex.tracing()) return;
    ex.record(linear_cost("low_rank", part.rows, *part.low.a));
    ex.record(linear_cost("low_rank", part.rows, *part.low.b));
  });
  ex.scratch(scratch);
  if (ex.tracing()) return;
  // Not `each` part by part: turns go on from one to the next.
  std::int64_t item = 0;
  for_parts(ex, [&](const Part& part) {
    for (std::int64_t chunk = 0; chunk < part.chunks(); ++chunk) {
      if (item++ % ex.workers() == ex.worker()) project_rows(ex, part, x.f32(), prepared.prompt, chunk);
    }
  });
}

/// Of what dropout leaves of so many rows of x; 0: all of it, where it lies.
std::size_t LowRankSum::kept_bytes(const Part& part, std::int64_t rows) const {
  return drops_ ? aligned(rows * part.low.a->k() * sizeof(float)) : 0;
}

const void* LowRankSum::prepared_at(const Part& part, const PreparedRows& have, std::int64_t row) const {
  const kernels::MatmulPath& path = part.a_path;
  const std::int64_t at = row - have.begin, whole = 2 * path.prepare_rows;  // whole tiles begin there
  if (drops_ || path.prepare == nullptr || have.rows == 0 || !reads_alike(path, *have.path)) return nullptr;
  if (at < 0 || at % whole != 0) return nullptr;
  return static_cast<const std::byte*>(have.data) + path.prepared_bytes(at, part.low.a->k());
}

void LowRankSum::project_rows(Exec& ex, const Part& part, const float* x, const PreparedRows& have,
                              std::int64_t chunk) const {
  const PackedMatrix& a = *part.low.a;
  const std::int64_t rows = part.rows_of(chunk), rank = part.rank();
  const std::int64_t first = part.begin + chunk * kRowsAtOnce;
  const float* from = x + first * a.k();
  float* to = middles_ + part.middle + chunk * kRowsAtOnce * rank;
  const std::size_t kept = kept_bytes(part, rows), bytes = prepared_bytes(part.a_path, rows, a.k());
  auto* scratch = static_cast<std::byte*>(ex.scratch(kept + bytes + scratch_bytes(part.a_path, rows, a.k())));
  if (drops_) {
    kernels::DropoutArgs mask = dropout_args(ex.dropout(), {{rows, a.k()}, part.site, ex.dropout().adapters});
    mask.x = from, mask.out = reinterpret_cast<float*>(scratch), mask.row_end = rows;
    mask.first_row += static_cast<std::uint32_t>(part.begin + chunk * kRowsAtOnce);
    ex.table().train.dropout(mask);
    from = mask.out;
    scratch += kept;
  }
  const void* input = prepared_at(part, have, first);
  if (input == nullptr && bytes > 0) part.a_path.prepare({from, a.k(), scratch, 0, rows, a.k()});
  if (input == nullptr) input = bytes > 0 ? static_cast<const void*>(scratch) : from;
  multiply(part.a_path, a, input, rows, 0, rank, to, nullptr, scratch + bytes);
  for (std::int64_t i = 0; i < rows * rank; ++i) to[i] *= part.low.scale;
  if (part.b_path.prepare == nullptr) return;
  std::byte* prepared = prepared_middles_ + part.prepared + chunk * part.chunk_bytes();
  part.b_path.prepare({to, rank, prepared, 0, rows, rank});
}

void LowRankSum::add_all(Exec& ex, std::initializer_list<Tensor> outputs) const {
  if (empty() || ex.tracing()) return;
  std::int64_t layer = 0;
  for (const Tensor& y : outputs) add(ex, layer++, y);
  ex.barrier();
}

void LowRankSum::add(Exec& ex, std::int64_t layer, Tensor y) const {
  for_parts(ex, [&](const Part& part) {
    if (part.layer != layer) return;
    const PackedMatrix& b = *part.low.b;
    TW_CHECK(y.row_stride() == b.n(), "an adapter's shapes fit");
    void* scratch = ex.scratch(scratch_bytes(part.b_path, std::min(kRowsAtOnce, part.rows), part.rank()));
    ex.slice(b.n(), part.b_path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t chunk = 0; chunk < part.chunks(); ++chunk) {
        const void* x =
            part.b_path.prepare == nullptr
                ? static_cast<const void*>(middles_ + part.middle + chunk * kRowsAtOnce * part.rank())
                : prepared_middles_ + part.prepared + chunk * part.chunk_bytes();
        float* out = y.f32() + (part.begin + chunk * kRowsAtOnce) * b.n();
        multiply(part.b_path, b, x, part.rows_of(chunk), begin, end, out, out, scratch);
      }
    });
  });
}

SavedLowRank LowRankSum::saved(int i) const {
  if (empty()) return {};
  const AdapterRun& run = adapters_.runs[0];
  std::int64_t middle = 0;
  for (int before = 0; before < i; ++before) {
    const LowRank& low = run.linears[linear_ + before];
    if (low.a != nullptr) middle += (run.end - run.begin) * low.a->n();
  }
  const LowRank& low = run.linears[linear_ + i];
  if (low.a == nullptr) return {};
  return {&low, middles_ == nullptr ? nullptr : middles_ + middle, linear_ + i, drops_};
}

Tensor low_rank_middle_gradient(const Backward& b, const OutputGradient& y, const SavedLowRank& s) {
  if (s.low == nullptr) return {};
  Exec& ex = b.ex;
  const Tensor d = ex.temporary({y.d_y.rows(), s.low->a->n()});
  input_gradient(b, y, *s.low->b, d, false);
  if (ex.tracing()) return d;
  ex.slice(d.shape.elements(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) d.f32()[i] *= s.low->scale;
  });
  ex.barrier();
  return d;
}

namespace {

/// Of a layer's input, or of the gradient by it.
Mask mask_of(const Exec& ex, Tensor x, const SavedLowRank& s) {
  return {x.shape, adapter_site(s.linear), ex.dropout().adapters};
}

}  // namespace

void low_rank_input_gradient(const Backward& b, Tensor d_middle, const SavedLowRank& s, Tensor d_x) {
  if (s.low == nullptr) return;
  if (!s.drops) return input_gradient(b, d_middle, *s.low->a, d_x, true);
  const tensor::Arena::Scope scope(b.ex.arena());
  const Tensor d_kept = b.ex.temporary({d_middle.rows(), s.low->a->k()});  // a tape's d_x has no rows
  input_gradient(b, d_middle, *s.low->a, d_kept, false);
  keep_some(b.ex, mask_of(b.ex, d_kept, s), d_kept.f32(), d_x.f32(), d_x.f32());
}

void low_rank_weight_gradients(const Backward& b, const OutputGradient& y, Tensor d_middle, Tensor x,
                               const TransposedInput& learnt, const SavedLowRank& s) {
  if (s.low == nullptr) return;
  const tensor::Arena::Scope scope(b.ex.arena());
  const Tensor middle{DType::kF32, d_middle.shape, s.middle};
  add_weight_gradient(b, y, transpose_input(b.ex, middle, *s.low->b), *s.low->b);
  if (!s.drops) return add_weight_gradient(b, d_middle, learnt, *s.low->a);
  const Tensor kept = b.ex.temporary(x.shape);
  keep_some(b.ex, mask_of(b.ex, x, s), x.f32(), nullptr, kept.f32());
  add_weight_gradient(b, d_middle, transpose_input(b.ex, kept, *s.low->a), *s.low->a);
}

void linear_gradients(const Backward& b, std::initializer_list<LayerGradient> layers, Tensor x,
                      const TransposedInput& learnt, int input, bool add) {
  Exec& ex = b.ex;
  const tensor::Arena::Scope scope(ex.arena());
  const bool wanted = b.wants(input);
  std::array<OutputGradient, 3> gradients;
  TW_CHECK(layers.size() <= gradients.size(), "no more layers share an input");
  bool made = false;
  auto* y = gradients.data();
  for (const auto& [d_y, layer] : layers) {
    const bool adapted = layer.low.low != nullptr;
    *y = wanted || adapted ? make_both_sides(b, d_y, layer.learnt()) : OutputGradient(d_y);
    made |= y->as_is != nullptr;
    (y++)->in_company = !adapted && b.leaf(layer.weight.tape_id()) != nullptr;
  }
  if (made && !ex.tracing()) ex.barrier();
  bool unmet = false;  // without a barrier since the last products
  const auto meet = [&] {
    if (std::exchange(unmet, false) && !ex.tracing()) ex.barrier();
  };
  y = gradients.data();
  for (const auto& [d_y, layer] : layers) {
    if (!y->in_company) meet();
    add_weight_gradient(b, *y, learnt, layer.weight);
    add_bias_gradient(b, d_y, layer.bias);
    if (wanted) input_gradient(b, *y, layer.weight, b.d_in(input), std::exchange(add, true));
    if (layer.low.low != nullptr) {
      const tensor::Arena::Scope adapter(ex.arena());
      const Tensor d_middle = low_rank_middle_gradient(b, *y, layer.low);
      low_rank_weight_gradients(b, *y, d_middle, x, learnt, layer.low);
      if (wanted) low_rank_input_gradient(b, d_middle, layer.low, b.d_in(input));
    }
    unmet = (y++)->in_company;
  }
  meet();
}

}  // namespace tw::ops
