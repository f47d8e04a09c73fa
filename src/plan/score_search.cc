#include <sys/resource.h>

#include "plan/search.h"

namespace tw::plan {
namespace {

Setting one_trillion() {
  spec::TrainJob job;
  job.batch = 4096, job.sequence = 2048, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "A100 SXM 80GB", cluster.accelerators = 4096;
  auto setting = make_setting(*find_model("gpt-1t"), job, cluster);
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
  const Setting setting = one_trillion();
  base::Team one(1), two(2);
  // A first run makes what is made once, such as the curves.
  const auto alone = search(setting, {}, one);
  const double before = peak_megabytes();
  const auto together = search(setting, {}, two);
  TW_CHECK(alone.ok() && together.ok(), "the search of its own target");
  const double rate = alone->computed / alone->cpu_seconds / 1e6, seconds = together->busiest_seconds;
  const double grown = peak_megabytes() - before;
  return {score("million plans a second on one core (at least)", alone->computed, rate, 2, rate >= 2),
          score("s for 1T on 4,096, busier of two workers", together->computed, seconds, 5, seconds < 5),
          score("MB that a second search adds to the peak", together->computed, grown, 16, grown <= 16)};
}

}  // namespace tw::plan
