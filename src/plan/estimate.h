// What one plan costs: time, memory, power, energy and money, each with range and provenance.
#pragma once

#include <string>
#include <vector>

#include "plan/figure.h"
#include "plan/goodput.h"
#include "plan/mixed.h"

namespace tw::plan {

struct Estimate {
  spec::ParallelPlan plan;
  StepBasis basis;
  StepTime step;
  double step_seconds = 0;    ///< with the pipeline's schedule simulated: what is told
  double closed_seconds = 0;  ///< by the closed form, which searches compare
  std::vector<StageMemory> stages;
  int fullest = 0;           ///< the stage that holds most, of what it can
  double capacity = 0;       ///< bytes of its accelerator
  double host_capacity = 0;  ///< of a plan that offloads: bytes of the host for each accelerator
  Provenance curves = Provenance::kMeasured;
  std::vector<Figure> figures;
  // Of a plan over two kinds of accelerator; else empty.
  std::vector<PlacedStage> placed;
  Pipeline pipeline;         ///< to be simulated
  std::vector<double> busy;  ///< share of the step in which a kind computes

  /// Bytes of the fullest host for each accelerator.
  double host_bytes() const;
  bool fits() const { return stages[fullest].total() <= capacity && host_bytes() <= host_capacity; }
  /// "it needs 93.1 GB of 85.9 GB: weights 12.1 GB, ...".
  std::string memory_text() const;
};

/// REQUIRES: the plan's recomputation is final. Fails when the plan does not divide (naming the nearest one
/// that does) or the catalogue lacks a number that the step needs. One that does not fit is no failure here.
base::Result<Estimate> estimate(const Setting& setting, const spec::ParallelPlan& plan);

/// FLOPs of a step by the model alone: three times the traced forward, seen pairs of attention only.
base::Result<double> model_flops(const spec::ModelConfig& model, const TrainingJob& job);

/// Whether 1F1B with several pieces a stage can run, besides ParallelPlan::validate (arXiv 2104.04473, 2.2).
base::Status check_interleave(const spec::ParallelPlan& plan, const spec::ModelConfig& model,
                              std::int64_t global_batch);

}  // namespace tw::plan
