// The clients of a simulation: when requests come, how long they are, and what became of them.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "plan/serving.h"

namespace tw::plan {

/// A fixed sequence of numbers in (0, 1), by splitmix64 of a counter: the same on every machine.
class UnitNumbers {
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
  /// Tokens of a request, evenly from a share of the longest up.
  double length(double longest, double shortest) {
    return std::max(1.0, std::round(longest * (shortest + (1 - shortest) * next())));
  }

 private:
  std::uint64_t count_ = 0;
};

struct FlowRequest {
  double arrival = 0;
  double input = 0, output = 0;  ///< tokens, whole numbers
};

/// With a rate, a Poisson process; else so many in flight, each followed by another after the client's time.
class RequestFlow {
 public:
  RequestFlow(const ServeLoad& load, int requests) : load_(load), requests_(requests) {
    const double first = load.rate > 0 ? requests : std::min<double>(load.concurrency, requests);
    double when = 0;
    for (int i = 0; i < static_cast<int>(first); ++i) {
      send(when);
      when += (load.rate > 0 ? 1 / load.rate : kClientSeconds) * numbers_.exponential();
    }
  }

  bool done() const { return ended_ >= requests_; }
  bool expects() const { return !sent_.empty(); }
  /// REQUIRES: expects().
  double next_arrival() const { return sent_.top(); }
  /// Calls f(FlowRequest) for what has arrived by now.
  template <typename F>
  void arrive(double now, F&& f) {
    while (!sent_.empty() && sent_.top() <= now) {
      const double when = sent_.top();
      sent_.pop();
      const double input = numbers_.length(load_.input, load_.shortest);
      const double output = numbers_.length(load_.output, load_.shortest);
      f(FlowRequest{when, input, output});
    }
  }
  /// So many steps gave a token to so many answers each.
  void gave(double answers, double steps) {
    if (answers <= 0) return;
    given_ += answers * steps;
    steps_ += steps;
  }
  void ended(const FlowRequest& request, double first_token, double now) {
    ++ended_;
    tokens_ += request.output;
    first_.push_back(first_token - request.arrival);
    whole_ += now - request.arrival;
    if (request.output > 1) between_ += (now - first_token) / (request.output - 1), ++with_gaps_;
    if (load_.rate <= 0 && sent_count_ < requests_) send(now + kClientSeconds * numbers_.exponential());
  }
  Served result(double now);

 private:
  void send(double when) {
    sent_.push(when);
    ++sent_count_;
  }

  const ServeLoad& load_;
  const int requests_;
  UnitNumbers numbers_;
  std::priority_queue<double, std::vector<double>, std::greater<>> sent_;  ///< times, on their way
  int sent_count_ = 0, ended_ = 0;
  double given_ = 0, steps_ = 0, between_ = 0, with_gaps_ = 0, whole_ = 0, tokens_ = 0;
  std::vector<double> first_;
};

}  // namespace tw::plan
