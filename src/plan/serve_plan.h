// What a cluster serves of a model: every division, the best batch, and a run of Tokenworks' own scheduler.
#pragma once

#include <optional>
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
  double groups = 1;   ///< of ranks with their own requests: replicas x split.attention
  double batch = 1;    ///< most sequences that run at once in each
  double running = 1;  ///< that run on average: fewer with a rate, at which the times are those of these
  double first_token = 0, output_token = 0;
  double request = 0;  ///< without what it waits for its turn; first_token has it
  double tokens_per_second = 0, requests_per_second = 0;  ///< that the cluster could serve
  double weights = 0, cache = 0, room = 0;  ///< bytes of a rank: the cache that is used, and what there is
  double idle = 0;                          ///< accelerators that make no whole replica

  double replicas() const { return groups / split.attention; }
  /// "tp 4 pp 1 ep 1, 2 replicas, batch 64".
  std::string text() const;
  /// What is computed of it; the sizes are chosen, not computed.
  std::vector<Figure> figures(const ServeSetting& setting) const;
};

struct ServeAnswer {
  ServeOption best;
  std::vector<ServeOption> others;  ///< the best batch of each other division, most tokens a second first
  /// Of all divisions and batches that were tried, those that no other beats both in tokens a second and in
  /// the time between tokens, in closed form; the shortest time first.
  std::vector<ServeOption> front;
  std::optional<Served> simulated;  ///< one group, Tokenworks' scheduler and step budget
  std::vector<Figure> figures;
  std::string not_tried;  ///< what the catalogue lacks for divisions that were left out; empty: none was
};

/// Fails with one line where nothing divides, fits or meets the targets, naming the nearest that does.
/// Where requests queue or a first token is a target, what counts is the simulated one.
base::Result<ServeAnswer> plan_serving(const ServeSetting& setting);

/// Tokens of a block of the scheduler's cache.
inline constexpr double kCacheBlock = 16;

/// How Tokenworks' scheduler is set up: as in infer::EngineOptions.
struct SchedulerSetup {
  int step_tokens = 8192;
  double stretch = 0;       ///< sched::StepBudget's; up to 1: no limit
  std::int64_t layers = 1;  ///< of the model: with a stretch, prompts may go through some of them a step
};

/// Requests that are enough for a mean and few enough for a second or two; fails with the reason where none
/// are.
base::Result<int> requests_to_simulate(const ServeLoad& load, const SchedulerSetup& setup);

/// Steps as sched::Scheduler plans them, with sched::StepBudget: what `tokenworks serve` would do, were its
/// steps as fast. `load` is of one group: `concurrency` in flight, with a rate on average, of which `running`
/// run at most. It begins in the middle, with answers of all ages, and leaves out the first first tokens and
/// what has not ended, until it has seen `requests` first tokens.
base::Result<Served> simulate_scheduler(ServeCosts& costs, const ServeConstants& constants,
                                        const ServeLoad& load, double memory_bytes,
                                        const SchedulerSetup& setup, int requests);

}  // namespace tw::plan
