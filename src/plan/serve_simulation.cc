#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <queue>

#include "plan/serving.h"

namespace tw::plan {
namespace {

struct Waiting {
  double arrival = 0;
  double input = 0, output = 0;
  double done = 0;  ///< tokens of its prompt that are computed
};

struct Answering {
  double last_step = 0;  ///< number of the step that ends it
  double first_token = 0;
  Waiting request;
  bool operator<(const Answering& other) const { return last_step > other.last_step; }
};

/// A fixed sequence of numbers in (0, 1) (splitmix64 of a counter): the same on every machine.
class Numbers {
 public:
  double next() {
    std::uint64_t z = ++count_ * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    return (static_cast<double>(z >> 11) + 0.5) * 0x1p-53;
  }
  /// With a mean of one: times between the arrivals of a Poisson process.
  double exponential() { return -std::log(next()); }

 private:
  std::uint64_t count_ = 0;
};

class Simulation {
 public:
  Simulation(ServeCosts& costs, const ServeStack& stack, const ServeConstants& constants,
             const ServeLoad& load, double memory_bytes, int requests)
      : costs_(costs), stack_(stack), constants_(constants), load_(load), requests_(requests) {
    const double held = (load.input + stack.reserved * load.output) * (1 + load.shortest) / 2;
    const double room = std::floor(cache_tokens(costs, memory_bytes) / held);
    slots_ = std::max(1.0, load.running > 0 ? std::min(load.running, room) : room);
    // At once where requests follow each other, but one after the other.
    const int first = load.rate > 0 ? requests : static_cast<int>(load.concurrency);
    const double apart = load.rate > 0 ? 1 / load.rate : kClientSeconds;
    double when = 0;
    for (int i = 0; i < std::min(first, requests); ++i) {
      send(when);
      when += apart * numbers_.exponential();
    }
  }

  Served run() {
    while (ended_ < requests_) {
      arrive();
      if (answering_.empty() && waiting_.empty()) {
        now_ = sent_.top();
        continue;
      }
      const double computed = take_prompts();
      if (computed > 0)
        step_with_prompts(computed);
      else
        steps_of_answers();
      end_answers();
    }
    return result();
  }

 private:
  void send(double when) {
    sent_.push(when);
    ++sent_count_;
  }
  /// What was sent by now waits.
  void arrive() {
    while (!sent_.empty() && sent_.top() <= now_) {
      const auto length = [&](double longest) {
        return std::max(1.0, std::round(longest * (load_.shortest + (1 - load_.shortest) * numbers_.next())));
      };
      waiting_.push_back({sent_.top(), length(load_.input), length(load_.output), 0});
      sent_.pop();
    }
  }
  double running() const { return static_cast<double>(answering_.size()); }

  /// Takes tokens of waiting prompts into this step; those whose prompt ends with it are in `ready_`.
  double take_prompts() {
    const bool alone = stack_.policy == StepPolicy::kPromptsFirst;
    double room = stack_.step_tokens - (alone ? 0 : running()), taken = 0;
    pairs_ = 0;
    while (!waiting_.empty() && running() + static_cast<double>(ready_.size()) < slots_ && room > 0) {
      Waiting& w = waiting_.front();
      const double left = w.input - w.done;
      const bool whole = stack_.policy == StepPolicy::kWholePrompts;
      if (whole && left > room && taken > 0) break;
      const double part = whole ? left : std::min(left, room);
      pairs_ += part * (w.done + (part + 1) / 2);
      w.done += part, room -= part, taken += part;
      if (part < left) break;
      ready_.push_back(w);
      waiting_.pop_front();
    }
    return taken;
  }

  void step_with_prompts(double computed) {
    const bool alone = stack_.policy == StepPolicy::kPromptsFirst;
    advance({alone ? 0 : running(), alone ? 0 : cached_, computed, pairs_, load_.input}, 1);
    for (const Waiting& w : ready_) {
      // The first token comes with the prompt's last piece.
      answering_.push({answer_steps_ + w.output - 1, now_, w});
      cached_ += w.input + 1;
    }
    ready_.clear();
  }

  /// As many steps without prompts as pass until something ends or arrives.
  void steps_of_answers() {
    double count = std::max(1.0, answering_.top().last_step - answer_steps_);
    if (!sent_.empty() && running() < slots_) {
      const double one = serve_seconds(costs_.step({running(), cached_, 0, 0, 0}), constants_);
      count = std::clamp(std::ceil((sent_.top() - now_) / one), 1.0, count);
    }
    advance({running(), cached_ + running() * (count - 1) / 2, 0, 0, 0}, count);
  }

  void advance(const StepLoad& load, double count) {
    now_ += count * serve_seconds(costs_.step(load), constants_);
    if (load.answers <= 0) return;
    answer_steps_ += count;
    cached_ += count * load.answers;
    given_ += count * load.answers;
    steps_with_answers_ += count;
  }

  void end_answers() {
    while (!answering_.empty() && answering_.top().last_step <= answer_steps_) {
      const Answering done = answering_.top();
      const Waiting& w = done.request;
      answering_.pop();
      cached_ -= w.input + w.output;
      ++ended_;
      tokens_ += w.output;
      first_.push_back(done.first_token - w.arrival);
      if (w.output > 1) between_ += (now_ - done.first_token) / (w.output - 1), ++with_gaps_;
      whole_ += now_ - w.arrival;
      if (load_.rate <= 0 && sent_count_ < requests_) send(now_ + kClientSeconds * numbers_.exponential());
    }
  }

  Served result() {
    Served s;
    const double n = static_cast<double>(ended_);
    s.first_token = std::accumulate(first_.begin(), first_.end(), 0.0) / n;
    std::sort(first_.begin(), first_.end());
    s.first_token_99 = first_[static_cast<std::size_t>(0.99 * (n - 1))];
    s.output_token = with_gaps_ > 0 ? between_ / with_gaps_ : 0;
    s.request = whole_ / n;
    s.tokens_per_second = tokens_ / now_;
    s.batch = steps_with_answers_ > 0 ? given_ / steps_with_answers_ : 0;
    return s;
  }

  ServeCosts& costs_;
  const ServeStack& stack_;
  const ServeConstants& constants_;
  const ServeLoad& load_;
  const int requests_;
  Numbers numbers_;
  double slots_ = 1, now_ = 0;
  int sent_count_ = 0, ended_ = 0;
  std::priority_queue<double, std::vector<double>, std::greater<>> sent_;  ///< times, on their way
  std::deque<Waiting> waiting_;
  std::vector<Waiting> ready_;  ///< whose prompt ends in this step
  double pairs_ = 0;
  std::priority_queue<Answering> answering_;
  double cached_ = 0;        ///< tokens of all that are answered
  double answer_steps_ = 0;  ///< in which answers went on
  double given_ = 0, steps_with_answers_ = 0, between_ = 0, with_gaps_ = 0, whole_ = 0, tokens_ = 0;
  std::vector<double> first_;
};

}  // namespace

Served simulate_serving(ServeCosts& costs, const ServeStack& stack, const ServeConstants& constants,
                        const ServeLoad& load, double memory_bytes, int requests) {
  return Simulation(costs, stack, constants, load, memory_bytes, requests).run();
}

}  // namespace tw::plan
