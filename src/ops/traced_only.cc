// An op with shapes and costs that cannot run yet.
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {

Tensor latent_qkv(Exec& ex, Tensor x, const LatentWeights& w, const AttentionShape& s,
                  const AttentionPlace&) {
  TW_CHECK(ex.tracing(), "the op latent_qkv cannot run yet");
  const std::int64_t rows = x.rows();
  const auto squeeze = [&](const PackedMatrix& down) {
    const auto middle = static_cast<double>(rows * down.n());
    ex.record(linear_cost("latent_qkv", rows, down));
    ex.record(rows_cost("latent_norm", middle, middle));
  };
  if (w.q_down != nullptr) squeeze(*w.q_down);
  ex.record(linear_cost("latent_qkv", rows, *w.q_up));
  squeeze(*w.kv_down);
  ex.record(linear_cost("latent_qkv", rows, *w.kv_up));
  const auto rotated = static_cast<double>(rows * w.q_up->n());
  ex.record(rows_cost("rope", rotated, rotated));
  return ex.output({rows, s.heads * s.head_dim});
}

}  // namespace tw::ops
