// Roster: which workers take part in the next steps, decided from how long each had to wait for a processor.
#pragma once

#include <chrono>
#include <vector>

namespace tw::base {

/// Pure policy: no thread, no clock of its own.
///
/// All workers meet at every barrier of a step, so a step moves only while all of them run. With k workers of
/// availability a (the share of the time that a worker has its processor), speed is about k^0.8 times the
/// product of the k best a; the exponent says that memory does not get faster with each worker. The k that is
/// best takes part. Worker 0 always does, whatever its own a: it is the thread that runs the engine, and the
/// kernel moves it to the processor that the ones left out give back.
class Roster {
 public:
  using Clock = std::chrono::steady_clock;
  using Duration = Clock::duration;

  explicit Roster(int size);

  /// Who takes part, ascending, 0 first.
  const std::vector<int>& members() const { return members_; }

  /// A member took part for `worked`, and in that time waited for a processor for `waited`.
  void record(int worker, Duration worked, Duration waited);
  /// Leaves out members that cost more than they give.
  void choose(Clock::time_point now);

  /// Whether a worker that was left out should show again whether it has a processor.
  bool trial_due(int worker, Clock::time_point now) const;
  /// How long such a trial lasts, and how much waiting in it is too much.
  static constexpr Duration kTrial = std::chrono::milliseconds(12);
  Duration trial_limit() const;
  /// Its result. A worker that passed is a member again.
  void tried(int worker, bool passed, Clock::time_point now);

 private:
  struct Worker {
    bool member = true;
    double available = 1;      ///< moving average
    Duration pause{};          ///< until the next trial
    Clock::time_point joined;  ///< last change of `member`, or last trial
  };
  void collect();

  std::vector<Worker> workers_;
  std::vector<int> members_;
  std::vector<double> sorted_;
};

}  // namespace tw::base
