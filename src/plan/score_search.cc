#include <sys/resource.h>

#include <algorithm>

#include "plan/search.h"

namespace tw::plan {
namespace {

/// GPT-3's shape at 1T parameters; or DeepSeek-V3's with so many layers.
Setting one_trillion(bool mixture) {
  spec::TrainJob job;
  job.batch = 4096, job.sequence = 2048, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "A100 SXM 80GB", cluster.accelerators = 4096;
  PlannedModel model = *find_model(mixture ? "deepseek-v3" : "gpt-1t");
  if (mixture) model.config.layers = 96;
  auto setting = make_setting(std::move(model), job, cluster);
  TW_CHECK(setting.ok(), "the setting of the search's target is whole");
  return std::move(setting).value();
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

SetScore score(std::string metric, double plans, double value, double target, bool met) {
  SetScore s;
  s.set = "search";
  s.rows = static_cast<int>(plans);
  s.metric = std::move(metric);
  s.value = value, s.target = target, s.met = met;
  return s;
}

}  // namespace

std::vector<SetScore> score_search() {
  const Setting dense = one_trillion(false), mixture = one_trillion(true);
  base::Team one(1), two(2);
  const auto alone = search(mixture, {}, one);
  const double before = peak_megabytes();
  const auto first = search(dense, {}, two), second = search(mixture, {}, two);
  TW_CHECK(alone.ok() && first.ok() && second.ok(), "the search of its own target");
  const double rate = alone->computed / alone->cpu_seconds / 1e6;
  const double slowest = std::max(first->busiest_seconds, second->busiest_seconds);
  const double plans = first->computed + second->computed, grown = peak_megabytes() - before;
  return {score("million plans a second on one core (at least)", alone->computed, rate, 2, rate >= 2),
          score("s for 1T on 4,096, busier of two workers", plans, slowest, 5, slowest < 5),
          score("MB that more searches add to the peak", plans, grown, 16, grown <= 16)};
}

}  // namespace tw::plan
