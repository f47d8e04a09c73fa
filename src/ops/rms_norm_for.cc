#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// Rows that a worker norms at a time: whole tiles of any form, and no more than the second cache has room
/// for.
std::int64_t rows_at_once(const kernels::MatmulPath& path) {
  return path.prepare_rows == 1 ? 1 : 32;
}

/// The path of all `weights`, if they read one form; else null.
const kernels::MatmulPath* common_path(const Exec& ex, std::span<const PackedMatrix* const> weights,
                                       bool prompt) {
  const kernels::MatmulPath& first = path_of(ex, *weights.front(), prompt);
  const bool alike = std::all_of(weights.begin(), weights.end(), [&](const PackedMatrix* weight) {
    return reads_alike(path_of(ex, *weight, prompt), first);
  });
  return alike && first.prepare != nullptr ? &first : nullptr;
}

struct Norm {
  Tensor x, weight;
  float epsilon;
};

/// Rows [begin, begin + rows) normed and prepared, from the arena. No barrier.
PreparedRows norm_rows(Exec& ex, const Norm& norm, const kernels::MatmulPath& path, std::int64_t begin,
                       std::int64_t rows) {
  const std::int64_t k = norm.weight.shape[0], most = rows_at_once(path);
  if (rows == 0) return {begin, 0, nullptr, &path};
  std::byte* const prepared = ex.arena().allocate(path.prepared_bytes(rows, k));
  auto* const room = static_cast<float*>(ex.scratch(most * k * sizeof(float)));
  ex.slice(rows, most, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t at = first; at < last; at += most) {
      const std::int64_t count = std::min(most, last - at);
      ex.table().rms_norm(
          {norm.x.f32() + (begin + at) * k, room, norm.weight.f32(), 0, count, k, k, norm.epsilon});
      path.prepare({room, k, prepared + path.prepared_bytes(at, k), 0, count, k});
    }
  });
  return {begin, rows, prepared, &path};
}

/// A traced step has both the rows and room for the forms, where these are larger.
void trace_room(Exec& ex, Tensor x, std::span<const PackedMatrix* const> weights) {
  const std::int64_t k = x.row_stride();
  std::size_t forms = 0, scratch = 0;
  for (const bool prompt : {false, true}) {
    const kernels::MatmulPath* path = common_path(ex, weights, prompt);
    if (path == nullptr) continue;
    forms += path->prepared_bytes(x.rows(), k);
    scratch = std::max<std::size_t>(scratch, rows_at_once(*path) * k * sizeof(float));
  }
  if (forms > x.bytes()) ex.arena().allocate(forms - x.bytes());
  ex.scratch(scratch);
}

}  // namespace

Input rms_norm_for(Exec& ex, Tensor x, Tensor weight, double epsilon,
                   std::span<const PackedMatrix* const> weights, std::int64_t generated) {
  const std::int64_t rows = x.rows();
  if (ex.tracing() && !ex.training()) trace_room(ex, x, weights);
  const kernels::MatmulPath *decode = common_path(ex, weights, false),
                            *prompt = common_path(ex, weights, true);
  const bool serve = (generated == 0 || decode != nullptr) && (rows == generated || prompt != nullptr);
  if (ex.training() || ex.tracing() || ex.observer() != nullptr || rows == 0 || !serve)
    return rms_norm(ex, x, weight, epsilon);
  TW_CHECK(x.row_stride() == weight.shape[0], "rms_norm_for: the weight has another width than the rows");
  const Norm norm{x, weight, static_cast<float>(epsilon)};
  Prepared made;
  if (generated > 0) made.generated = norm_rows(ex, norm, *decode, 0, generated);
  if (rows > generated) made.prompt = norm_rows(ex, norm, *prompt, generated, rows - generated);
  ex.barrier();
  return {x.shape, made};
}

}  // namespace tw::ops
