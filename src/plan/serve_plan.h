// What a cluster serves of a model: every division, the best batch, and a run of Tokenworks' own scheduler.
#pragma once

#include <string>
#include <vector>

#include "plan/estimate.h"
#include "plan/serve_validate.h"
#include "spec/serve_job.h"

namespace tw::plan {

/// A question to the planner, complete and checked.
struct ServeSetting {
  PlannedModel model;
  spec::ServeJob job;
  spec::ClusterSpec cluster;
  Accelerator accelerator;
  Precision precision = Precision::kBf16;
  FittedServing stack;
  double memory = 0;  ///< bytes of one accelerator

  /// Relative error to expect of a time.
  double spread() const;
};
base::Result<ServeSetting> make_serve_setting(PlannedModel model, spec::ServeJob job,
                                              spec::ClusterSpec cluster);

/// One way to serve, in closed form. Seconds, of means.
struct ServeOption {
  ServeSplit split;
  double groups = 1;  ///< of ranks with their own requests: replicas x split.attention
  double batch = 1;   ///< sequences in flight of each
  double first_token = 0, output_token = 0;
  double tokens_per_second = 0, requests_per_second = 0;  ///< of the cluster
  double weights = 0, cache = 0, room = 0;  ///< bytes of a rank: the cache that is used, and what there is

  double replicas() const { return groups / split.attention; }
  /// "tp 4 pp 1 ep 1, 2 replicas, batch 64".
  std::string text() const;
};

struct ServeAnswer {
  ServeOption best;
  std::vector<ServeOption> others;  ///< the best batch of each other division, most tokens a second first
  Served simulated;                 ///< one group, Tokenworks' scheduler and step budget
  std::vector<Figure> figures;
};

/// Fails with one line where nothing divides, fits or meets the targets, naming the nearest that does.
base::Result<ServeAnswer> plan_serving(const ServeSetting& setting);

/// How Tokenworks' scheduler is set up: as in infer::EngineOptions.
struct SchedulerSetup {
  int step_tokens = 8192;
  double stretch = 0;  ///< sched::StepBudget's; up to 1: no limit
};

/// Steps as sched::Scheduler plans them, with sched::StepBudget: what `tokenworks serve` would do, were its
/// steps as fast. `load` is of one group.
Served simulate_scheduler(ServeCosts& costs, const ServeConstants& constants, const ServeLoad& load,
                          double memory_bytes, const SchedulerSetup& setup, int requests);

}  // namespace tw::plan
