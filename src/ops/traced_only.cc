// Ops with shapes and costs that cannot run yet.
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

void all_to_all(Exec& ex, const char* name, double moved) {
  if (ex.sharding().expert == 1) return;
  OpCost cost{.name = name, .kind = OpKind::kCollective};
  cost.collective = Collective::kAllToAll;
  cost.axis = Axis::kExpert;
  cost.elements = moved;
  ex.record(std::move(cost));
}

/// One product for each of `groups` experts, rows each.
void grouped(Exec& ex, const char* name, double rows, double groups,
             std::initializer_list<const PackedMatrix*> weights) {
  OpCost cost = fused_cost(name, 1, weights);
  const double all = rows * groups;
  cost.flops *= all;
  cost.weight_bytes *= groups;
  cost.activation_bytes *= all;
  cost.m = rows;
  cost.groups = groups;
  ex.record(std::move(cost));
}

}  // namespace

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

void moe_ffn(Exec& ex, Tensor x, const ExpertWeights& w, Tensor residual, Tensor out) {
  TW_CHECK(ex.tracing(), "the op moe_ffn cannot run yet");
  TW_CHECK(w.local * ex.sharding().expert == w.experts && residual.shape == out.shape, "moe_ffn: shapes");
  const auto rows = static_cast<double>(x.rows()), width = static_cast<double>(x.row_stride());
  // What all ranks of the expert axis send here is, when even, what this rank sends out.
  const double routed =
      rows * static_cast<double>(w.chosen) * (w.capacity > 0 ? std::min(w.capacity, 1.0) : 1);
  const double each = routed / static_cast<double>(w.local),
               middle = routed * static_cast<double>(w.gate->n());
  ex.record(linear_cost("router", x.rows(), *w.router));
  ex.record(rows_cost("dispatch", routed * width, routed * width));
  all_to_all(ex, "dispatch", routed * width);
  grouped(ex, "moe_ffn", each, static_cast<double>(w.local), {w.gate, w.up});
  ex.record(rows_cost("silu_mul", 2 * middle, middle));
  grouped(ex, "moe_ffn", each, static_cast<double>(w.local), {w.down});
  all_to_all(ex, "combine", routed * width);
  ex.record(rows_cost("combine", routed * width, static_cast<double>(out.rows() * out.row_stride())));
  if (w.shared_gate == nullptr) return;
  const double shared = rows * static_cast<double>(w.shared_gate->n());
  ex.record(fused_cost("shared_ffn", x.rows(), {w.shared_gate, w.shared_up}));
  ex.record(rows_cost("silu_mul", 2 * shared, shared));
  ex.record(linear_cost("shared_ffn", x.rows(), *w.shared_down));
}

}  // namespace tw::ops
