// A pipeline over two kinds of accelerator: each stage lies on one kind, and layers are dealt by its speed
// and memory.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "plan/layer_split.h"
#include "plan/memory.h"
#include "plan/schedule.h"
#include "plan/setting.h"

namespace tw::plan {

struct PlacedStage {
  std::size_t kind = 0;  ///< of Setting::kinds
  int first = 0, layers = 0;
  double forward = 0, backward = 0, send = 0;  ///< seconds of a micro-batch, head and recomputation included
  double computing = 0, again = 0;             ///< of these, what collectives do not take
  double optimizer = 0;                        ///< seconds of a step
  double capacity = 0;                         ///< bytes of its accelerator
  StageMemory memory;

  double seconds() const { return forward + backward + send; }
  bool fits() const { return memory.total() <= capacity; }
};

struct MixedStep {
  std::vector<PlacedStage> stages;
  double head = 0;                                ///< seconds of a micro-batch on the last stage
  double gradients = 0, optimizer = 0, rest = 0;  ///< what follows the pipeline
  double seconds = 0;
  Provenance provenance = Provenance::kMeasured;

  bool fits() const;
  const PlacedStage& slowest() const;
  Pipeline pipeline() const;
};

/// Places plans on one setting's kinds. Not thread-safe.
class MixedPlanner {
 public:
  /// REQUIRES: the setting is mixed and outlives this.
  explicit MixedPlanner(const Setting& setting) : s_(setting), tracer_(setting.model.config) {}

  /// In closed form, (m - 1) max + sum of the stages (arXiv 2201.12023, 5.2), with the better of both orders
  /// of the kinds, and of what fits if anything does. REQUIRES: check_mixed(), and the plan's own validate().
  base::Result<MixedStep> step(const spec::ParallelPlan& plan);

 private:
  /// What a plan is on one kind.
  struct OnKind {
    StepBasis basis;
    LayerSeconds dense, expert;
    LayerWork dense_work, expert_work;
    double head = 0, send = 0, capacity = 0;
  };
  using Key = std::tuple<int, int, int, int, int, bool, int, spec::Recompute>;
  base::Status prepare(const spec::ParallelPlan& plan);
  base::Result<MixedStep> ordered(const spec::ParallelPlan& plan, bool second_first);
  PlacedStage place(const spec::ParallelPlan& plan, std::size_t kind, int stage, int first, int count) const;
  base::Status finish(const spec::ParallelPlan& plan, MixedStep& step) const;

  const Setting& s_;
  Tracer tracer_;
  Key known_{};  ///< of what layers_ and trace_ are
  LayersBasis layers_[2];
  const BlockTrace* trace_ = nullptr;
  MemoryBasis memory_;
  OnKind kinds_[2];
};

/// Whether each stage can lie on one kind: the accelerators of a stage divide the number of either. The error
/// names the nearest plan that works.
base::Status check_mixed(const Setting& setting, const spec::ParallelPlan& plan);

}  // namespace tw::plan
