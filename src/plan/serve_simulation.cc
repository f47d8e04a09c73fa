#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>

#include "plan/request_flow.h"

namespace tw::plan {
namespace {

struct Waiting {
  FlowRequest request;
  double done = 0;  ///< tokens of its prompt that are computed
};

struct Answering {
  double last_step = 0;  ///< number of the step that ends it
  double first_token = 0;
  FlowRequest request;
  bool operator<(const Answering& other) const { return last_step > other.last_step; }
};

class Simulation {
 public:
  Simulation(ServeCosts& costs, const ServeStack& stack, const ServeConstants& constants,
             const ServeLoad& load, double memory_bytes, int requests)
      : costs_(costs),
        stack_(stack),
        constants_(constants),
        load_(load),
        flow_(load, requests),
        fresh_(std::round(load.fresh * requests)) {
    const double held = (load.input + stack.reserved * load.output) * (1 + load.shortest) / 2;
    const double room = std::floor(cache_tokens(costs, memory_bytes) / held);
    slots_ = std::max(1.0, load.running > 0 ? std::min(load.running, room) : room);
  }

  Served run() {
    while (!flow_.done()) {
      if (std::fmod(since_look_, load_.receive) == 0)
        flow_.arrive(now_, [&](const FlowRequest& request) {
          const bool known = ++arrived_ > fresh_;
          waiting_.push_back({request, known ? request.input - load_.computed(request.input) : 0});
        });
      if (answering_.empty() && waiting_.empty()) {
        now_ = std::max(now_, flow_.next_arrival());
        since_look_ = 0;
        continue;
      }
      const double computed = take_prompts();
      if (computed > 0)
        step_with_prompts(computed);
      else
        steps_of_answers();
      end_answers();
    }
    return flow_.result(now_);
  }

 private:
  double running() const { return static_cast<double>(answering_.size()); }

  /// Takes tokens of waiting prompts into this step; those whose prompt ends with it are in `ready_`.
  double take_prompts() {
    const bool alone = stack_.policy == StepPolicy::kPromptsFirst;
    const double most = load_.step_tokens > 0 ? load_.step_tokens : stack_.step_tokens;
    double room = most - (alone ? 0 : running()), taken = 0;
    pairs_ = 0;
    while (!waiting_.empty() && running() + static_cast<double>(ready_.size()) < slots_ && room > 0) {
      Waiting& w = waiting_.front();
      const double left = w.request.input - w.done;
      const bool whole = stack_.policy == StepPolicy::kWholePrompts;
      if (whole && left > room && taken > 0) break;
      const double part = whole ? left : std::min(left, room);
      pairs_ += part * (w.done + (part + 1) / 2);
      w.done += part, room -= part, taken += part;
      if (part < left) break;
      ready_.push_back(w.request);
      waiting_.pop_front();
    }
    return taken;
  }

  void step_with_prompts(double computed) {
    const bool alone = stack_.policy == StepPolicy::kPromptsFirst;
    advance({alone ? 0 : running(), alone ? 0 : cached_, computed, pairs_, load_.input, stack_.graph_tokens},
            1);
    for (const FlowRequest& r : ready_) {
      // The first token comes with the prompt's last piece.
      answering_.push({answer_steps_ + r.output - 1, now_, r});
      cached_ += r.input + 1;
    }
    ready_.clear();
  }

  /// As many steps without prompts as pass until something ends or arrives.
  void steps_of_answers() {
    double count = std::max(1.0, answering_.top().last_step - answer_steps_);
    if (flow_.expects() && running() < slots_) {
      const double one = serve_seconds(costs_.step({running(), cached_, 0, 0, 0}), constants_);
      const double until = std::max(1.0, std::ceil((flow_.next_arrival() - now_) / one));
      const double look = std::ceil((since_look_ + until) / load_.receive) * load_.receive;
      count = std::min(count, look - since_look_);
    }
    advance({running(), cached_ + running() * (count - 1) / 2, 0, 0, 0}, count);
  }

  void advance(const StepLoad& load, double count) {
    now_ += count * serve_seconds(costs_.step(load), constants_);
    flow_.gave(load.answers, count);
    // A step with prompts is followed by a look.
    since_look_ = load.prompts > 0 ? 0 : since_look_ + count;
    if (load.answers <= 0) return;
    answer_steps_ += count;
    cached_ += count * load.answers;
  }

  void end_answers() {
    while (!answering_.empty() && answering_.top().last_step <= answer_steps_) {
      const Answering done = answering_.top();
      answering_.pop();
      cached_ -= done.request.input + done.request.output;
      flow_.ended(done.request, done.first_token, now_);
    }
  }

  ServeCosts& costs_;
  const ServeStack& stack_;
  const ServeConstants& constants_;
  const ServeLoad& load_;
  RequestFlow flow_;
  const double fresh_;  ///< requests of whose prompts the cache has nothing
  double arrived_ = 0;
  double slots_ = 1, now_ = 0;
  std::deque<Waiting> waiting_;
  std::vector<FlowRequest> ready_;  ///< whose prompt ends in this step
  double pairs_ = 0;
  std::priority_queue<Answering> answering_;
  double cached_ = 0;        ///< tokens of all that are answered
  double since_look_ = 0;    ///< steps of answers
  double answer_steps_ = 0;  ///< in which answers went on
};

}  // namespace

Served simulate_serving(ServeCosts& costs, const ServeStack& stack, const ServeConstants& constants,
                        const ServeLoad& load, double memory_bytes, int requests) {
  return Simulation(costs, stack, constants, load, memory_bytes, requests).run();
}

}  // namespace tw::plan
