#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <queue>

#include "plan/request_flow.h"
#include "plan/serve_plan.h"
#include "sched/scheduler.h"
#include "sched/step_budget.h"

namespace tw::plan {
namespace {

constexpr int kBlock = static_cast<int>(kCacheBlock);

/// A request, and what is known of when it came.
struct Client {
  double arrival = 0, input = 0, output = 0;
  std::int64_t place = -1;  ///< in the queue that was there at the beginning
};

struct Alive {
  Client client;
  double given = 0;      ///< tokens of its answer
  bool old = false;      ///< began before the simulation did: no first token is seen
  bool started = false;  ///< gets tokens
};

/// What happens from when it has settled on.
struct Seen {
  struct First {
    double time = 0;
    Client client;
  };
  std::vector<First> firsts;
  double begin = 0, tokens = 0;        ///< when it began, and tokens since
  double next_tokens = 0, waited = 0;  ///< tokens after a first one, and seconds between, of all answers
  double steps = 0, answers = 0;       ///< with answers, and answers of all of them
  bool on = false;
};

class SchedulerRun {
 public:
  SchedulerRun(ServeCosts& costs, const ServeConstants& constants, const ServeLoad& load, double memory_bytes,
               const SchedulerSetup& setup, int requests)
      : costs_(costs),
        constants_(constants),
        load_(load),
        setup_(setup),
        requests_(requests),
        options_(options(costs, load, memory_bytes, setup)),
        scheduler_(options_),
        budget_(setup.stretch, setup.step_tokens, options_.layers) {}

  base::Result<Served> run() {
    TW_RETURN_IF_ERROR(begin());
    // What the beginning made unlike the rest has passed by then.
    const int settling = requests_ / 4;
    while (static_cast<int>(seen_.firsts.size()) < requests_) {
      if (!seen_.on && first_tokens_ >= settling) seen_.on = true, seen_.begin = now_;
      TW_RETURN_IF_ERROR(admit());
      if (scheduler_.idle()) {
        now_ = arrivals_.top();
        continue;
      }
      const sched::Step step = scheduler_.next(budget_.share(answers_, others()));
      compute(step);
    }
    return result();
  }

 private:
  static sched::SchedulerOptions options(const ServeCosts& costs, const ServeLoad& load, double memory_bytes,
                                         const SchedulerSetup& setup) {
    sched::SchedulerOptions o;
    const double tokens = std::min(cache_tokens(costs, memory_bytes), 1e9);
    o.blocks = static_cast<std::int64_t>(tokens) / kBlock;
    o.block_tokens = kBlock;
    o.max_running = static_cast<int>(std::clamp(load.running > 0 ? load.running : load.concurrency, 1.0,
                                                static_cast<double>(setup.step_tokens)));
    o.max_step_tokens = setup.step_tokens;
    o.max_waiting = 1 << 24;
    o.layers = setup.stretch > 1 ? setup.layers : 1;
    o.prefix_cache = false;
    return o;
  }

  Client next_client(double arrival) {
    const double input = numbers_.length(load_.input, load_.shortest);
    return {arrival, input, numbers_.length(load_.output, load_.shortest), -1};
  }
  std::int64_t others() const {
    return static_cast<std::int64_t>(alive_.size()) - answers_ + static_cast<std::int64_t>(waiting_.size());
  }

  /// Answers of all ages run, and who finds no room waits.
  base::Status begin() {
    const double most = std::min<double>(load_.concurrency, options_.max_running);
    std::int64_t blocks = 0, count = 0;
    while (static_cast<double>(count) < most) {
      const Client client = next_client(0);
      const double given = client.output < 2 ? 0 : 1 + std::floor(numbers_.next() * (client.output - 1));
      if (given < 1) break;
      blocks += (static_cast<std::int64_t>(client.input + given) + kBlock) / kBlock;
      if (blocks + count + 2 > options_.blocks) break;
      TW_RETURN_IF_ERROR(add(client, given));
      ++count;
    }
    std::vector<sched::RequestId> ready;
    while (static_cast<std::int64_t>(ready.size()) < count) {
      const sched::Step step = scheduler_.next();
      if (step.slices.empty()) break;
      scheduler_.computed(step);
      for (const sched::Slice& slice : step.slices) {
        if (slice.wants_output) ready.push_back(slice.id);
      }
    }
    for (const sched::RequestId id : ready) give(id);
    if (load_.rate > 0) {
      arrivals_.push(numbers_.exponential() / load_.rate);
      return base::Ok{};
    }
    for (; static_cast<double>(count) < load_.concurrency; ++count) {
      Client client = next_client(0);
      client.place = queued_++;
      waiting_.push_back(client);
    }
    return base::Ok{};
  }

  /// The scheduler sees as much of the queue as it may begin.
  base::Status admit() {
    while (!arrivals_.empty() && arrivals_.top() <= now_) {
      const double when = arrivals_.top();
      arrivals_.pop();
      waiting_.push_back(next_client(when));
      if (load_.rate > 0) arrivals_.push(when + numbers_.exponential() / load_.rate);
    }
    while (!waiting_.empty() && entering_ < 2.0 * setup_.step_tokens) {
      TW_RETURN_IF_ERROR(add(waiting_.front(), 0));
      waiting_.pop_front();
    }
    return base::Ok{};
  }

  base::Status add(const Client& client, double given) {
    sched::Request asked;
    asked.id = ++last_id_;
    asked.prompt.assign(static_cast<std::size_t>(client.input + given), 0);
    asked.max_new_tokens = static_cast<std::int64_t>(client.output - given);
    TW_RETURN_IF_ERROR(scheduler_.add(std::move(asked)));
    alive_[last_id_] = {client, given, given > 0, false};
    entering_ += client.input + given;
    return base::Ok{};
  }

  void compute(const sched::Step& step) {
    StepLoad load, again;  // answers and prompts, and what preempted answers compute again
    for (const sched::Slice& slice : step.slices) {
      const auto n = static_cast<double>(slice.tokens.size()), first = static_cast<double>(slice.first);
      const bool generated = slice.phase == sched::Phase::kGenerated;
      if (generated && n == 1) {
        ++load.answers;
        load.cached += first + 1;
        continue;
      }
      StepLoad& to = generated ? again : load;
      to.prompts += n;
      to.prompt_pairs += n * (first + (n + 1) / 2);
      to.prompt_seen = std::max(to.prompt_seen, first + n);
    }
    const double seconds = run(load, again, step.prompt_layers);
    now_ += seconds;
    if (seen_.on) {
      seen_.waited += static_cast<double>(answers_) * seconds;
      seen_.answers += load.answers, seen_.steps += load.answers > 0 ? 1 : 0;
    }
    scheduler_.computed(step);
    std::vector<sched::RequestId> ready;
    for (const sched::Slice& slice : step.slices) {
      if (slice.wants_output) ready.push_back(slice.id);
    }
    for (const sched::RequestId id : ready) give(id);
  }

  /// Seconds of a step.
  double run(StepLoad load, const StepLoad& again, sched::Layers layers) {
    if (setup_.stretch <= 1) {
      load.prompts += again.prompts, load.prompt_pairs += again.prompt_pairs;
      load.prompt_seen = std::max(load.prompt_seen, again.prompt_seen);
      return serve_seconds(costs_.step(load), constants_);
    }
    // One phase after the other, as Tokenworks' engine does it.
    StepLoad answers, prompts = load;
    answers.answers = load.answers, answers.cached = load.cached;
    prompts.answers = prompts.cached = 0;
    double answered = load.answers == 0 ? 0 : serve_seconds(costs_.step(answers), constants_);
    budget_.answered(static_cast<std::int64_t>(load.answers), answered);
    if (again.prompts > 0) answered += serve_seconds(costs_.step(again), constants_);
    if (load.prompts == 0) return answered;
    const std::int64_t count = layers.end - layers.begin;
    const double read = serve_seconds(costs_.step(prompts), constants_) * static_cast<double>(count) /
                        static_cast<double>(options_.layers);
    budget_.read(static_cast<std::int64_t>(load.prompts), count, read);
    return answered + read;
  }

  /// A token of an answer.
  void give(sched::RequestId id) {
    Alive& r = alive_.at(id);
    const bool next = r.started;
    if (!r.started) {
      r.started = true;
      ++answers_;
      entering_ -= r.client.input + r.given;
      if (!r.old) {
        ++first_tokens_;
        if (seen_.on) seen_.firsts.push_back({now_, r.client});
      }
    }
    if (seen_.on) seen_.tokens += 1, seen_.next_tokens += next ? 1 : 0;
    if (++r.given < r.client.output) return scheduler_.append(id, 0);
    scheduler_.finish(id);
    --answers_;
    if (load_.rate <= 0) arrivals_.push(now_ + kClientSeconds * numbers_.exponential());
    alive_.erase(id);
  }

  Served result() const {
    Served s;
    const double span = now_ - seen_.begin, n = static_cast<double>(seen_.firsts.size());
    std::vector<double> waits;
    for (const Seen::First& f : seen_.firsts) {
      // The queue of the beginning came as fast as it is served.
      const double before = static_cast<double>(queued_ - f.client.place) * now_ / std::max(1, first_tokens_);
      waits.push_back(f.time - (f.client.place >= 0 ? -before : f.client.arrival));
      s.first_token += waits.back() / n;
    }
    std::sort(waits.begin(), waits.end());
    s.first_token_99 = waits[static_cast<std::size_t>(0.99 * (n - 1))];
    s.output_token = seen_.next_tokens > 0 ? seen_.waited / seen_.next_tokens : 0;
    s.request = s.first_token + s.output_token * (load_.output * (1 + load_.shortest) / 2 - 1);
    s.tokens_per_second = seen_.tokens / span;
    s.batch = seen_.steps > 0 ? seen_.answers / seen_.steps : 0;
    return s;
  }

  ServeCosts& costs_;
  const ServeConstants& constants_;
  const ServeLoad& load_;
  const SchedulerSetup setup_;
  const int requests_;
  UnitNumbers numbers_;
  sched::SchedulerOptions options_;
  sched::Scheduler scheduler_;
  sched::StepBudget budget_;
  std::map<sched::RequestId, Alive> alive_;
  sched::RequestId last_id_ = 0;
  std::priority_queue<double, std::vector<double>, std::greater<>> arrivals_;  ///< times to come
  std::deque<Client> waiting_;  ///< that the scheduler does not know yet
  std::int64_t queued_ = 0;     ///< at the beginning
  double entering_ = 0;         ///< tokens of prompts in the scheduler without a first token
  std::int64_t answers_ = 0;    ///< of those alive, which have their first token
  int first_tokens_ = 0;
  double now_ = 0;
  Seen seen_;
};

}  // namespace

base::Result<int> requests_to_simulate(const ServeLoad& load, const SchedulerSetup& setup) {
  // Tokens of answers, times that a step looks at one of its sequences, and tokens of prompts and in memory:
  // each about a second or two.
  constexpr double kAnswers = 5e6, kLooks = 2e7, kPrompts = 3e8, kHeld = 64e6;
  constexpr double kFewest = 20;
  const double mean = (1 + load.shortest) / 2, output = load.output * mean, input = load.input * mean;
  const double running = std::min(load.concurrency, load.running > 0 ? load.running : load.concurrency);
  const double held = running * (load.input + load.output) + 2.0 * setup.step_tokens + load.input;
  if (held > kHeld)
    return base::error(base::Code::kResourceExhausted,
                       "not simulated: a group holds up to {:.3g} tokens at once, and the simulation {:.3g}",
                       held, kHeld);
  // With a stretch a chunk may take a step for each layer, or for some.
  const double a_step = sched::StepBudget::kChunk / static_cast<double>(setup.layers);
  const double piece = setup.stretch > 1 ? std::max(a_step, 16.0) : setup.step_tokens;
  const double looks = std::ceil(input / std::min(piece, input)) * running;
  const double most = std::min({kAnswers / output, kLooks / looks, kPrompts / input - running});
  if (most < kFewest)
    return base::error(base::Code::kResourceExhausted,
                       "not simulated: requests of {:.3g} and answers of {:.3g} tokens take too many steps",
                       load.input, load.output);
  const double wanted = load.rate > 0 ? 400 : 100;
  return static_cast<int>(std::min(std::max(wanted, 3 * running), most));
}

base::Result<Served> simulate_scheduler(ServeCosts& costs, const ServeConstants& constants,
                                        const ServeLoad& load, double memory_bytes,
                                        const SchedulerSetup& setup, int requests) {
  return SchedulerRun(costs, constants, load, memory_bytes, setup, requests).run();
}

}  // namespace tw::plan
