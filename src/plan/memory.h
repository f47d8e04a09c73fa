// What a rank holds while it trains, by category, from traces.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "plan/stack.h"
#include "plan/trace.h"
#include "plan/training.h"

namespace tw::plan {

/// Bytes that one layer keeps of one micro-batch until its backward has run, by what is computed again
/// (index: spec::Recompute).
struct LayerKept {
  double bytes[3] = {0, 0, 0};
  /// What weight gradients are made from, where backward by the input has run and by the weight has not:
  /// inputs of products and gradients of their results (arXiv 2401.10241's M_W).
  double weight = 0;
};

/// What ops keep, in 16 bits: inputs of products and norms, what activations are made from, and with unfused
/// attention the scores and dropout's masks (arXiv 2205.05198, whose formulas are the test).
LayerKept kept_by(const std::vector<ops::OpCost>& ops, const Stack& stack);

/// What depends on the division of a model and on the micro-batch, not on replicas and stages.
struct MemoryBasis {
  LayerKept dense, expert;
  double head = 0;    ///< kept before the logits
  double logits = 0;  ///< in fp32, and their gradient in 16 bits
  double rows = 0;    ///< one micro-batch's residual stream, in 16 bits, not divided by tp
  double ring = 0;    ///< one rank's keys and values, that go round context parallelism's ring
  double dense_parameters = 0, expert_parameters = 0, routed_parameters = 0;
  double embed_parameters = 0, head_parameters = 0;
  double layers = 0, dense_layers = 0;
  double copy_bytes = 0;  ///< of a weight in the products' own format, besides the 16-bit one
  bool tied = false;
};
MemoryBasis memory_basis(const spec::ModelConfig& model, const BlockTrace& trace, const TrainingJob& job,
                         const spec::ParallelPlan& plan, const Stack& stack);

// State of a parameter in mixed precision: Megatron-LM's 18 bytes (theoretical_memory_usage.py).
inline constexpr double kWeightBytes = 2, kGradientBytes = 4, kOptimizerStateBytes = 12;
/// The allocator's loss, of all that comes and goes (Megatron-LM adds as much).
inline constexpr double kFragmentation = 0.05;
/// Of context, libraries and collectives (aiconfigurator takes as much).
inline constexpr double kFrameworkBytes = 3.5e9;
/// Relative error to expect of a rank's memory: such counts were 2 % off for activations and 8 % for weights
/// and their state, on average, in Calculon's validation (SC 2023).
inline constexpr double kMemorySpread = 0.1;

struct StageMemory {
  double weights = 0, gradients = 0, optimizer = 0, activations = 0, logits = 0, buffers = 0, overhead = 0;
  double host_weights = 0, host_gradients = 0, host_optimizer = 0;  ///< in the host, not in total()
  double host() const { return host_weights + host_gradients + host_optimizer; }
  double total() const { return weights + gradients + optimizer + activations + logits + buffers + overhead; }
};

/// Of one rank of a stage (from 0) that holds `own` layers after `before` others. In flight: min(m, p -
/// stage) micro-batches in 1F1B; with v pieces a stage, 2 (p - stage - 1) + (v - 1) p + 1 of them (arXiv
/// 2104.04473).
inline StageMemory stage_memory(const MemoryBasis& b, const spec::ParallelPlan& p, double micro_batches,
                                int stage, double before, double own) {
  const double stages = p.pipeline, pieces = p.interleave, at = stage;
  const double dense = std::clamp(b.dense_layers - before, 0.0, own), expert = own - dense;
  const bool first = stage == 0, last = stage + 1 == p.pipeline;

  double kept_parameters = dense * b.dense_parameters + expert * b.expert_parameters;
  if (first) kept_parameters += b.embed_parameters;
  if (last) kept_parameters += b.tied ? (first ? 0 : b.embed_parameters) : b.head_parameters;
  const double routed = expert * b.routed_parameters;
  const auto sharers = static_cast<double>(p.sharers());
  // Dealt-out experts are not cut by tp: fewer ranks hold copies of them.
  const double copies = p.expert > 1 ? std::max(1.0, sharers * p.tensor / p.expert) : sharers;
  const auto state = [&](double bytes, bool shared) {
    return bytes * (shared ? kept_parameters / sharers + routed / copies : kept_parameters + routed);
  };
  StageMemory m;
  m.weights = state(kWeightBytes + b.copy_bytes, p.zero == 3);
  m.gradients = state(kGradientBytes, p.zero >= 2);
  m.optimizer = state(kOptimizerStateBytes, p.zero >= 1);

  const bool offloads = p.offload != spec::Offload::kNone, fetches = p.offload == spec::Offload::kParameters;
  if (offloads) {
    // Its processors update fp32 copies by fp32 gradients: 16 bytes a parameter (DeepSpeed's estimators).
    m.host_optimizer = std::exchange(m.optimizer, 0);
    m.host_gradients = state(kGradientBytes, p.zero >= 1);
    if (p.zero >= 2) m.gradients = 0;
    if (fetches) m.host_weights = std::exchange(m.weights, 0);
  }

  const int kind = static_cast<int>(p.recompute);
  const double flying =
      pieces == 1
          ? std::min(micro_batches, stages - at)
          : std::min(micro_batches * pieces, 2 * (stages - at - 1) + (pieces - 1) * stages + 1) / pieces;
  m.activations = flying * (dense * b.dense.bytes[kind] + expert * b.expert.bytes[kind]);
  // ZB-H1: stage s is up to s weight gradients behind.
  if (p.zero_bubble)
    m.activations += std::min(micro_batches, at) * (dense * b.dense.weight + expert * b.expert.weight);
  // What one layer keeps besides while it is computed again.
  const double again_dense = dense > 0 ? b.dense.bytes[0] - b.dense.bytes[kind] : 0;
  const double again_expert = expert > 0 ? b.expert.bytes[0] - b.expert.bytes[kind] : 0;
  m.activations += std::max(again_dense, again_expert);
  if (last) m.activations += b.head, m.logits = b.logits;
  // The gathered rows of a sequence-parallel layer and their gradient; what goes to and comes from
  // neighbours.
  if (p.tensor > 1) m.buffers += 2 * b.rows;
  if (p.pipeline > 1) m.buffers += 4 * b.rows / (p.sequence ? p.tensor : 1);
  // The block of keys and values that comes in, and backward its gradients that go out and come in.
  m.buffers += 3 * b.ring;
  // ZeRO-3: the layer that computes and the one that is fetched, and a layer's gradients.
  const bool gathers = p.zero == 3 && (sharers > 1 || fetches);
  if (gathers || (offloads && p.zero >= 2)) {
    const double layer = std::max(dense > 0 ? b.dense_parameters : 0,
                                  expert > 0 ? b.expert_parameters + b.routed_parameters : 0);
    m.buffers += layer * ((gathers ? 2 * kWeightBytes : 0) + kGradientBytes);
  }
  m.overhead = kFrameworkBytes + kFragmentation * (m.activations + m.logits + m.buffers);
  return m;
}

/// The same where layers are dealt evenly, and the first stages hold those that are left over.
inline StageMemory stage_memory(const MemoryBasis& b, const spec::ParallelPlan& p, double micro_batches,
                                int stage) {
  const double stages = p.pipeline, at = stage;
  const double few = std::floor(b.layers / stages), more = b.layers - few * stages;
  return stage_memory(b, p, micro_batches, stage, few * at + std::min(at, more), few + (at < more ? 1 : 0));
}

/// Of the stage that holds most. REQUIRES: the plan is valid for the model.
StageMemory most_memory(const MemoryBasis& basis, const spec::ParallelPlan& plan, double micro_batches,
                        int* stage = nullptr);

}  // namespace tw::plan
