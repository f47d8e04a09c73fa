// The time of a training step, in two parts: what depends on model, plan and hardware alone (StepBasis, made
// from traces), and what a software stack's constants make of it (step_seconds, a closed form of about a
// hundred operations, which search and fits call).
#pragma once

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

  Pass& operator+=(const Pass& other);
};

/// Layers of one kind in the model.
struct LayerBasis {
  double count = 0;
  Pass forward, again, backward;  ///< again: what the backward pass computes once more
  double gather = 0;              ///< ZeRO-3: network seconds to fetch one layer's parameters
};

struct StepBasis {
  LayerBasis dense, expert;
  Pass head;  ///< forward and backward
  double layers = 0, pipeline = 1, interleave = 1, micro_batches = 1;
  double send_network = 0, send_inside = 0;            ///< activations to the next stage, one way
  double gradients_network = 0, gradients_inside = 0;  ///< of a step
  double optimizer = 0;
  bool overlaps_gradients = false;
  Provenance provenance = Provenance::kMeasured;  ///< the least sure curve that was used
};

/// REQUIRES: plan.validate() is ok for the model and the batch. Fails when the model does not divide, or
/// naming the number that the catalogue lacks.
base::Result<StepBasis> step_basis(Tracer& tracer, const TrainingJob& job, const spec::ParallelPlan& plan,
                                   const Accelerator& accelerator, const Stack& stack);

double step_seconds(const StepBasis& basis, const Constants& constants);

}  // namespace tw::plan
