#include "plan/memory.h"

#include <string_view>

namespace tw::plan {
namespace {

constexpr double kHalf = 2;  ///< bytes of a 16-bit number
constexpr double kTraced = sizeof(float);
/// Of a (query, key) and head: softmax's result, dropout's mask and result.
constexpr double kScoresKept = 5;

struct Kept {
  double always = 0, scores = 0;
};

/// A product's result is kept unless it goes straight into a sum or to other ranks.
bool result_is_kept(const std::vector<ops::OpCost>& ops, std::size_t i) {
  if (i + 1 >= ops.size()) return false;
  const ops::OpCost& next = ops[i + 1];
  return next.name != "residual" && next.name != "combine" && next.kind != ops::OpKind::kCollective;
}

/// Of an op on rows: elements that it keeps, by those that it reads and writes.
double rows_kept(const ops::OpCost& op, bool dropout) {
  const double elements = op.activation_bytes / kTraced;  // in and out
  if (op.name == "rms_norm" || op.name == "layer_norm") return elements * kHalf;
  if (op.name == "latent_norm" || op.name == "gelu") return elements / 2 * kHalf;  // the result
  if (op.name == "silu_mul") return elements / 3 * kHalf;
  // What experts are given, and as much that they give back, for the router's gradient.
  if (op.name == "dispatch") return elements * kHalf;
  if (op.name == "residual" && dropout) return elements / 3;  // a byte's mask
  return 0;
}

Kept kept_by_op(const std::vector<ops::OpCost>& ops, std::size_t i, const Stack& stack) {
  const ops::OpCost& op = ops[i];
  switch (op.kind) {
    case ops::OpKind::kMatmul:
      if (op.name == "router") return {op.m * op.n * kTraced, 0};
      return {result_is_kept(ops, i) ? op.m * op.groups * op.n * kHalf : 0, 0};
    case ops::OpKind::kAttention: {
      const double result = op.m * op.n * op.k * kHalf;
      if (stack.fused_attention) return {result + op.m * op.n * kTraced, 0};  // and each row's sum
      return {result, kScoresKept * op.all_pairs * op.n};
    }
    case ops::OpKind::kCollective:
      return {};
    case ops::OpKind::kRows:
      break;
  }
  return {rows_kept(op, !stack.fused_attention), 0};
}

}  // namespace

LayerKept kept_by(const std::vector<ops::OpCost>& ops, const Stack& stack) {
  Kept sum;
  double input = 0, weight = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Kept k = kept_by_op(ops, i, stack);
    sum.always += k.always, sum.scores += k.scores;
    if (ops[i].kind == ops::OpKind::kMatmul)
      weight += ops[i].m * ops[i].groups * (ops[i].k + ops[i].n) * kHalf;
    const bool norm = ops[i].name == "rms_norm" || ops[i].name == "layer_norm";
    if (input == 0 && norm) input = ops[i].activation_bytes / kTraced / 2 * kHalf;
  }
  return {{sum.always + sum.scores, sum.always, input}, weight};
}

MemoryBasis memory_basis(const spec::ModelConfig& model, const BlockTrace& trace, const TrainingJob& job,
                         const spec::ParallelPlan& plan, const Stack& stack) {
  MemoryBasis b;
  b.dense = kept_by(trace.dense, stack);
  b.expert = kept_by(trace.expert, stack);
  for (const ops::OpCost& op : trace.head) {
    if (op.kind == ops::OpKind::kMatmul)
      b.logits += op.m * op.n * (kTraced + kHalf);
    else
      b.head += rows_kept(op, false);
  }
  for (const ops::OpCost& op : trace.dense.empty() ? trace.expert : trace.dense) {
    if (op.kind == ops::OpKind::kCollective && op.axis == ops::Axis::kContext)
      b.ring += op.elements / plan.context * kHalf;
  }
  b.rows = static_cast<double>(plan.micro_batch) * static_cast<double>(job.sequence) / plan.context *
           static_cast<double>(model.width) * kHalf;
  b.dense_parameters = trace.dense_parameters, b.expert_parameters = trace.expert_parameters;
  b.routed_parameters = trace.routed_parameters;
  b.embed_parameters = trace.embed_parameters, b.head_parameters = trace.head_parameters;
  b.layers = static_cast<double>(model.layers);
  b.dense_layers = static_cast<double>(model.experts.count > 0 ? model.experts.dense_layers : model.layers);
  b.tied = model.tied_embeddings;
  // Products in 8 or 4 bits keep a copy of the weights in their format.
  b.copy_bytes = job.precision == Precision::kFp8 ? 1 : job.precision == Precision::kFp4 ? 0.5625 : 0;
  return b;
}

StageMemory most_memory(const MemoryBasis& basis, const spec::ParallelPlan& plan, double micro_batches,
                        int* stage) {
  StageMemory most;
  const auto look = [&](int s) {
    const StageMemory m = stage_memory(basis, plan, micro_batches, s);
    if (m.total() <= most.total()) return;
    most = m;
    if (stage != nullptr) *stage = s;
  };
  for (int s = 0; s < plan.pipeline; ++s) look(s);
  return most;
}

}  // namespace tw::plan
