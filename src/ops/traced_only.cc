// Ops with shapes and costs that cannot run yet.
#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

double elements(Tensor x) {
  return static_cast<double>(x.rows() * x.row_stride());
}

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

Tensor layer_norm(Exec& ex, Tensor x, Tensor weight, Tensor bias) {
  TW_CHECK(ex.tracing(), "the op layer_norm cannot run yet");
  TW_CHECK(x.row_stride() == weight.shape[0] && bias.shape == weight.shape, "layer_norm: shapes do not fit");
  OpCost cost = rows_cost("layer_norm", elements(x), elements(x));
  cost.flops = 7 * elements(x);
  cost.weight_bytes = static_cast<double>(weight.bytes() + bias.bytes());
  ex.record(std::move(cost));
  return ex.output(x.shape);
}

void add_positions(Exec& ex, Tensor x, const EmbeddingTable& table) {
  TW_CHECK(ex.tracing(), "the op add_positions cannot run yet");
  TW_CHECK(x.row_stride() == table.width, "add_positions: the table has another width");
  ex.record(rows_cost("add_positions", 2 * elements(x), elements(x)));
}

void gelu_ffn(Exec& ex, Tensor x, const PackedMatrix& up, const PackedMatrix& down, Tensor residual,
              Tensor out) {
  TW_CHECK(ex.tracing(), "the op gelu_ffn cannot run yet");
  TW_CHECK(up.k() == x.row_stride() && up.n() == down.k() && residual.shape == out.shape, "gelu_ffn: shapes");
  const auto middle = static_cast<double>(x.rows() * up.n());
  ex.record(linear_cost("gelu_ffn", x.rows(), up));
  ex.record(rows_cost("gelu", middle, middle));
  ex.record(linear_cost("gelu_ffn", x.rows(), down));
  ex.record(rows_cost("residual", 2 * elements(out), elements(out)));
}

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
  ex.record(rows_cost("combine", routed * width, elements(out)));
  if (w.shared_gate == nullptr) return;
  const double shared = rows * static_cast<double>(w.shared_gate->n());
  ex.record(fused_cost("shared_ffn", x.rows(), {w.shared_gate, w.shared_up}));
  ex.record(rows_cost("silu_mul", 2 * shared, shared));
  ex.record(linear_cost("shared_ffn", x.rows(), *w.shared_down));
}

}  // namespace tw::ops
