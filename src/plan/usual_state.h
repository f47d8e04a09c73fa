// Whether a machine is as it usually is while something is timed. The host of a virtual machine moves its
// processors about for seconds at a time: next to each other, into caches far apart, or onto one core.
#pragma once

#include <chrono>
#include <memory>

#include "base/team.h"
#include "kernels/table.h"

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
  void set_usual(const MachineState& state) { usual_ = state; }
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
      ++runs_;
      if (!result.ok() || is_usual(team)) return result;
      if (spent_ >= patience_) {
        ++unusual_;
        return result;
      }
      spent_ += std::chrono::duration<double>(Clock::now() - begin).count();
    }
  }

  double spent() const { return spent_; }  ///< seconds, of patience
  /// Share of what counted that ran when the machine was not as usual: there was no more patience.
  double unusual_share() const { return runs_ == 0 ? 0 : static_cast<double>(unusual_) / runs_; }

 private:
  using Clock = std::chrono::steady_clock;

  void wait(base::Team& team);

  kernels::Table table_;
  double patience_, spent_ = 0;
  std::int64_t runs_ = 0, unusual_ = 0;
  std::int64_t rounds_ = 1;  ///< of multiply-adds in a look
  MachineState usual_;
  Clock::time_point seen_usual_;  ///< the last time
};

}  // namespace tw::plan
