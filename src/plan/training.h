// The time of a training step, in two parts: what depends on model, plan and hardware alone (StepBasis, made
// from traces), and what a software stack's constants make of it (step_seconds, a closed form of about a
// hundred operations, which search and fits call).
#pragma once

#include <algorithm>
#include <cmath>

#include "plan/collective.h"
#include "plan/curves.h"
#include "plan/stack.h"
#include "plan/trace.h"
#include "spec/parallel_plan.h"

namespace tw::plan {

struct TrainingJob {
  std::int64_t sequence = 2048;   ///< tokens
  std::int64_t global_batch = 1;  ///< sequences
  Precision precision = Precision::kBf16;
};

/// Seconds of a pass when all constants are one.
struct Pass {
  double matmul = 0;       ///< products and attention, by the measured curves
  double memory = 0;       ///< row ops at the memory's full bandwidth
  double inside = 0;       ///< collectives inside a scale-up domain, measured
  double network = 0;      ///< collectives between domains, at the NICs' full bandwidth
  double collectives = 0;  ///< how many
  double launches = 0;     ///< in forwards of a layer
  // Context parallelism's ring: what its turns take inside a domain and between domains, and the attention
  // that runs beside them.
  double ring_inside = 0, ring_network = 0, ring_hidden = 0;

  Pass& operator+=(const Pass& other);
};

/// Layers of one kind in the model.
struct LayerBasis {
  double count = 0;
  Pass forward, again, backward;  ///< again: what the backward pass computes once more
  double weight = 0;              ///< seconds of the backward's products that make weight gradients
};

/// The part of a basis that depends on tensor, context and expert parallelism, micro-batch and recomputation.
struct LayersBasis {
  LayerBasis dense, expert;
  Pass head;                                      ///< forward and backward
  double send_network = 0, send_inside = 0;       ///< activations to the next stage, one way
  Provenance provenance = Provenance::kMeasured;  ///< the least sure curve that was used
};

/// The part that depends on how many replicas and stages there are.
struct ReplicasBasis {
  double dense_gather = 0, expert_gather = 0;          ///< ZeRO-3: network seconds to fetch one layer
  double gradients_network = 0, gradients_inside = 0;  ///< of one reduction; ZeRO-3 has its own
  double groups_network = 0, groups_inside = 0;        ///< of the shards, between groups that hold copies
  double optimizer = 0;
  // Over the link to the host, of one layer: its parameters up, and its gradients down. Not hidden:
  // optimizer.
  double dense_up = 0, expert_up = 0, dense_down = 0, expert_down = 0;
};

struct StepBasis : LayersBasis, ReplicasBasis {
  double layers = 0, pipeline = 1, interleave = 1, micro_batches = 1;
  int zero = 0;
  bool zero_bubble = false;
  bool overlaps_gradients = false;
};

/// Seconds of a step by what they are spent on. The sum is the step's.
struct StepTime {
  double compute = 0;    ///< products, attention and row ops, forward and backward, and launches
  double recompute = 0;  ///< what backward computes again
  double communication =
      0;                 ///< tensor, context and expert parallelism and ZeRO-3's fetches that nothing hides
  double bubble = 0;     ///< stages that wait
  double sends = 0;      ///< activations between stages
  double gradients = 0;  ///< their sum over the replicas that nothing hides
  double optimizer = 0;
  double host = 0;   ///< layers' transfers to and from the host that nothing hides
  double other = 0;  ///< of the stack, by step
  double total() const {
    return compute + recompute + communication + bubble + sends + gradients + optimizer + host + other;
  }
};

/// REQUIRES: plan.validate() is ok for the model and the batch. Fails when the model does not divide, or
/// naming the number that the catalogue lacks.
base::Result<StepBasis> step_basis(Tracer& tracer, const TrainingJob& job, const spec::ParallelPlan& plan,
                                   const Accelerator& accelerator, const Stack& stack,
                                   const Fabric& fabric = {});

/// The two parts by themselves, for searches. `trace` is of the plan's division and micro-batch.
base::Result<LayersBasis> layers_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                       const TrainingJob& job, const spec::ParallelPlan& plan,
                                       const Accelerator& accelerator, const Stack& stack,
                                       const Fabric& fabric = {});
base::Result<ReplicasBasis> replicas_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                           const TrainingJob& job, const spec::ParallelPlan& plan,
                                           const Accelerator& accelerator, const Stack& stack,
                                           const Fabric& fabric = {});

/// Parameters of one rank of a stage: those that all replicas hold, and of experts that are dealt out.
struct StageParameters {
  double own = 0, routed = 0;
};
/// replicas_basis of a stage that holds so many. The other holds an even part of the layers, and the larger
/// of table and head.
base::Result<ReplicasBasis> stage_replicas_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                                 const StageParameters& held, const TrainingJob& job,
                                                 const spec::ParallelPlan& plan,
                                                 const Accelerator& accelerator, const Stack& stack,
                                                 const Fabric& fabric);

/// A layer's forward, and its recomputation with backward, for one micro-batch.
struct LayerSeconds {
  double forward = 0, backward = 0;
};
LayerSeconds layer_seconds(const LayerBasis& layer, const Constants& constants);
/// The same with what runs beside and may take longer: ZeRO-3's fetch of the next layer, twice in backward,
/// which fetches again and gives the gradients away, and the host's link (arXiv 2104.07857, 6.2).
LayerSeconds beside_seconds(const StepBasis& basis, bool expert, const Constants& constants);
double pass_seconds(const Pass& pass, const Constants& constants);
/// What a layer's passes compute for the first time, and again, without collectives.
struct LayerWork {
  double first = 0, again = 0;
};
LayerWork layer_work(const LayerBasis& layer, const Constants& constants);

/// What the closed form is made of once the constants are known; seconds.
struct StepParts {
  double all = 0;             ///< all layers, forward and backward, for one micro-batch
  double forward = 0;         ///< of which forward
  double weight = 0;          ///< of which weight gradients, where they are apart (ZB-H1); else 0
  double head = 0, send = 0;  ///< send: of one piece and micro-batch, both ways
  double reduction = 0;       ///< one reduction of the gradients, nothing hidden
  double between = 0;         ///< the same between groups of sharers, after the last micro-batch
  double optimizer = 0, rest = 0;
  double layers = 1, pipeline = 1, interleave = 1, micro_batches = 1;
  bool each_micro_batch = false;  ///< ZeRO-2: gradients go away after each micro-batch
  bool overlaps = false;
};

/// Of the output head's time, forward's share: one product of three.
inline constexpr double kHeadForward = 1.0 / 3;

/// Seconds until all stages are done with all micro-batches: the longest way through what waits for what in
/// 1F1B (with pieces: arXiv 2104.04473, figure 4). It stays at one stage b while that has a forward and a
/// backward in turn; before, it warms up there, or goes round through all stages to the first gradient;
/// after, it drains there, or goes round. b is the last of those with a layer more, the last of the others,
/// or the last stage, which has the head. Exact with one piece a stage (docs/planning.md, "The best plans").
inline double stages_seconds(const StepParts& s) {
  const double p = s.pipeline, v = s.interleave, m = s.micro_batches, pieces = m * v;
  if (p == 1) return m * (s.all + s.head);
  const double e = s.send / 2, few = std::floor(s.layers / p), more = s.layers - few * p;
  // Of one piece, with what is sent after it. The last one's result and the first one's gradient go nowhere.
  const double layer_f = s.forward / s.layers / v, layer_b = (s.all - s.forward) / s.layers / v;
  const double f = few * layer_f + e, b = few * layer_b + e;
  const double all_f = s.forward + (v * p - 1) * e, all_b = s.all - s.forward + (v * p - 1) * e;
  double longest = (p - 1) * (f + b) + more * (layer_f + layer_b) - e + m * (v * (f + b) - e + s.head);
  const auto by_way_of = [&](double stage, double own_f, double own_b) {
    const double after = p - 1 - stage, larger = std::min(more, stage);
    const double ahead =
        v > 1 ? 2 * after + (v - 1) * p : after;  // forwards before the first that alternates
    const double alone = std::min(ahead + 1, pieces), in_turn = pieces - alone;
    if (stage == 0) own_b -= e / v;
    const double warm_up = stage * f + larger * layer_f + alone * own_f;
    const double round_first = all_f + after * b + s.head;
    const double drain = stage * b + larger * layer_b - (stage > 0 ? e : 0) + alone * own_b;
    const double round_last = after * f - e + s.head + all_b;
    // All forwards come before all backwards where none alternate: not both rounds.
    const double ends = in_turn > 0 ? std::max(warm_up, round_first) + std::max(drain, round_last)
                                    : std::max({warm_up + drain, round_first + drain, warm_up + round_last});
    longest = std::max(longest, ends + in_turn * (own_f + own_b));
  };
  if (more > 0) by_way_of(more - 1, f + layer_f, b + layer_b);
  if (more < p - 1) by_way_of(p - 2, f, b);
  // ZB-H1 waits (p - 1) (f + b - w) where 1F1B waits (p - 1) (f + b + w) (arXiv 2401.10241, table 1).
  return longest - 2 * (p - 1) * s.weight / p;
}

/// What is not hidden of the gradients' sums where `hidden` seconds of a micro-batch's backward hide them.
inline double exposed_gradients(const StepParts& s, double hidden) {
  // Of ZeRO-2, all but the last reduce-scatter lie between micro-batches.
  const double half = s.reduction / 2;
  return s.each_micro_batch ? s.micro_batches * std::max(0.0, half - hidden) + half +
                                  std::max(0.0, s.between - std::max(0.0, hidden - half))
                            : std::max(0.0, s.reduction + s.between - hidden);
}

/// THE closed form: the stages, then gradients, optimizer and the stack's share of a step.
inline double step_formula(const StepParts& s) {
  const double middle = s.all / s.pipeline + (s.pipeline > 1 ? s.send * s.interleave : 0);
  // While a micro-batch runs backward, which is about two thirds of it.
  const double hidden = s.overlaps ? middle * 2 / 3 : 0;
  return stages_seconds(s) + exposed_gradients(s, hidden) + s.optimizer + s.rest;
}

StepParts step_parts(const StepBasis& basis, const Constants& constants);

double step_seconds(const StepBasis& basis, const Constants& constants);

/// A step of `total` seconds by what they are spent on: what nothing else explains is waiting.
StepTime step_time(const StepBasis& basis, const Constants& constants, double total);

}  // namespace tw::plan
