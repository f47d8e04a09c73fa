// Whether a machine is as it usually is while something is timed. The host of a virtual machine moves its
// processors about for seconds at a time: next to each other, into caches far apart, or onto one core.
#pragma once

#include <chrono>
#include <vector>

#include "base/team.h"
#include "kernels/table.h"
#include "plan/statistics.h"

namespace tw::plan {

/// How fast a team's workers are, together and alone.
struct MachineState {
  double barrier = 0;  ///< seconds that they take to wait for each other
  double flops = 0;    ///< multiply-adds from registers a second (two each), of the slowest worker
};

class UsualState {
 public:
  /// `patience`: seconds that may go by with waiting and with what is done again.
  UsualState(const kernels::Table& table, double patience);

  /// Looks at the team for so many seconds: usual is what it is at least in a quarter of them.
  void learn(base::Team& team, double seconds);
  void set_usual(const MachineState& state) { usual_ = state, seen_usual_ = {}; }
  const MachineState& usual() const { return usual_; }

  /// Now. Its workers should have nothing else to do.
  MachineState look(base::Team& team);
  bool is_usual(base::Team& team);

  /// What f() returns, which has ok(). It is called when the machine is as usual, and again when it was not
  /// any more at the end, while there is patience.
  template <typename F>
  auto when_usual(base::Team& team, const F& f) {
    for (;;) {
      wait(team);
      const Clock::time_point begin = Clock::now();
      auto result = f();
      if (!result.ok()) return result;
      was_usual_ = is_usual(team);
      if (was_usual_ || spent_ >= patience_) return result;
      spent_ += std::chrono::duration<double>(Clock::now() - begin).count();
    }
  }

  double spent() const { return spent_; }  ///< seconds, of patience
  /// Whether the machine was as usual when what when_usual() returned last was made.
  bool was_usual() const { return was_usual_; }

 private:
  using Clock = std::chrono::steady_clock;

  void wait(base::Team& team);

  kernels::Table table_;
  double patience_, spent_ = 0;
  bool was_usual_ = true;
  std::int64_t rounds_ = 1;  ///< of multiply-adds in a look
  MachineState usual_;
  Clock::time_point seen_usual_;  ///< the last time
};

/// One thing's seconds, measured in rounds: those on an unusual machine count where there are no others.
class Rounds {
 public:
  void add(double seconds, bool usual) { (usual ? usual_ : others_).push_back(seconds); }
  bool usual() const { return !usual_.empty(); }
  double mean() const { return plan::mean(usual() ? usual_ : others_); }

 private:
  std::vector<double> usual_, others_;
};

}  // namespace tw::plan
