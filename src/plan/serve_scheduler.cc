#include <algorithm>
#include <cmath>
#include <map>

#include "plan/request_flow.h"
#include "plan/serve_plan.h"
#include "sched/scheduler.h"
#include "sched/step_budget.h"

namespace tw::plan {
namespace {

constexpr int kBlock = 16;

struct Alive {
  FlowRequest request;
  double first_token = 0, given = 0;
};

class SchedulerRun {
 public:
  SchedulerRun(ServeCosts& costs, const ServeConstants& constants, const ServeLoad& load, double memory_bytes,
               const SchedulerSetup& setup, int requests)
      : costs_(costs),
        constants_(constants),
        flow_(load, requests),
        scheduler_(options(costs, load, memory_bytes, setup, requests)),
        budget_(setup.stretch, setup.step_tokens) {}

  Served run() {
    while (!flow_.done()) {
      flow_.arrive(now_, [&](const FlowRequest& request) { add(request); });
      if (scheduler_.idle()) {
        now_ = flow_.next_arrival();
        continue;
      }
      const std::int64_t others = static_cast<std::int64_t>(alive_.size()) - answers_;
      const sched::Step step = scheduler_.next(budget_.prompt_tokens(answers_, others));
      compute(step, others);
    }
    return flow_.result(now_);
  }

 private:
  static sched::SchedulerOptions options(const ServeCosts& costs, const ServeLoad& load, double memory_bytes,
                                         const SchedulerSetup& setup, int requests) {
    sched::SchedulerOptions o;
    const double tokens = std::min(cache_tokens(costs, memory_bytes), 1e9);
    o.blocks = static_cast<std::int64_t>(tokens) / kBlock;
    o.block_tokens = kBlock;
    o.max_running = static_cast<int>(std::clamp(load.running > 0 ? load.running : load.concurrency, 1.0,
                                                static_cast<double>(setup.step_tokens)));
    o.max_step_tokens = setup.step_tokens;
    o.max_waiting = requests + 1;
    o.prefix_cache = false;
    return o;
  }

  void add(const FlowRequest& request) {
    sched::Request asked;
    asked.id = ++last_id_;
    asked.prompt.assign(static_cast<std::size_t>(request.input), 0);
    asked.max_new_tokens = static_cast<std::int64_t>(request.output);
    const auto added = scheduler_.add(std::move(asked));
    TW_CHECK(added.ok(), "a request that was checked to fit the cache");
    alive_[last_id_].request = request;
  }

  void compute(const sched::Step& step, std::int64_t others) {
    StepLoad load;
    for (const sched::Slice& slice : step.slices) {
      const auto n = static_cast<double>(slice.tokens.size()), first = static_cast<double>(slice.first);
      if (slice.phase == sched::Phase::kGenerated && n == 1) {
        ++load.answers;
        load.cached += first + 1;
      } else {
        load.prompts += n;
        load.prompt_pairs += n * (first + (n + 1) / 2);
        load.prompt_seen = std::max(load.prompt_seen, first + n);
      }
    }
    const double seconds = serve_seconds(costs_.step(load), constants_);
    now_ += seconds;
    budget_.ran(static_cast<std::int64_t>(load.answers), static_cast<std::int64_t>(load.prompts), seconds,
                others);
    flow_.gave(load.answers, 1);
    scheduler_.computed(step);
    std::vector<sched::RequestId> ready;
    for (const sched::Slice& slice : step.slices) {
      if (slice.wants_output) ready.push_back(slice.id);
    }
    for (const sched::RequestId id : ready) give(id);
  }

  void give(sched::RequestId id) {
    Alive& r = alive_.at(id);
    if (r.given++ == 0) {
      r.first_token = now_;
      ++answers_;
    }
    if (r.given < r.request.output) return scheduler_.append(id, 0);
    scheduler_.finish(id);
    --answers_;
    flow_.ended(r.request, r.first_token, now_);
    alive_.erase(id);
  }

  ServeCosts& costs_;
  const ServeConstants& constants_;
  RequestFlow flow_;
  sched::Scheduler scheduler_;
  sched::StepBudget budget_;
  std::map<sched::RequestId, Alive> alive_;
  sched::RequestId last_id_ = 0;
  std::int64_t answers_ = 0;  ///< of those alive, which have their first token
  double now_ = 0;
};

}  // namespace

Served simulate_scheduler(ServeCosts& costs, const ServeConstants& constants, const ServeLoad& load,
                          double memory_bytes, const SchedulerSetup& setup, int requests) {
  return SchedulerRun(costs, constants, load, memory_bytes, setup, requests).run();
}

}  // namespace tw::plan
