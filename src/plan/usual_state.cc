#include "plan/usual_state.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "kernels/probe.h"

namespace tw::plan {
namespace {

/// A look's multiply-adds take about so long: longer than it takes to come late to a barrier.
constexpr double kMultiply = 3e-4;
/// Barriers are timed in groups, and the middle one counts: a worker that was woken sleeps now and then.
constexpr int kGroups = 9, kBarriers = 16;
constexpr auto kBetweenLooks = std::chrono::milliseconds(20);
/// Who looked just now need not look again.
constexpr auto kFresh = std::chrono::milliseconds(1);
/// Others on a worker's core take up to a third of its multiply-adds all the time; a core shared by two
/// workers leaves half. Workers in one part of the third cache meet in a tenth of a microsecond, in two parts
/// in a third of one.
constexpr double kLeastFlops = 0.65, kMostBarrier = 1.8;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

kernels::PeakResult multiply(const kernels::Table& table, std::int64_t rounds) {
  static const kernels::PeakData data;
  return table.peak({0, data.bytes, data.values, rounds});
}

/// The value that a quarter of them are below.
double lower_quarter(std::vector<double> values) {
  const auto at = values.begin() + std::ssize(values) / 4;
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

UsualState::UsualState(const kernels::Table& table, double patience) : table_(table), patience_(patience) {
  constexpr std::int64_t kMost = 1 << 24;
  constexpr int kTries = 5;  // a hiccup in one of them must not settle it
  for (; rounds_ < kMost; rounds_ *= 2) {
    double least = 1e300;
    for (int i = 0; i < kTries; ++i) {
      const auto begin = Clock::now();
      volatile double sum = multiply(table_, rounds_).sum;
      static_cast<void>(sum);
      least = std::min(least, seconds_since(begin));
    }
    if (least >= kMultiply / 2) break;
  }
}

MachineState UsualState::look(base::Team& team) {
  const base::ThreadPin pin(team.placement()[0]);
  MachineState state;
  double seconds = 0;
  std::vector<double> sums(team.size());
  std::vector<std::vector<double>> groups(team.size(), std::vector<double>(kGroups));
  team.run([&](int worker) {
    base::Barrier& barrier = team.barrier();
    for (double& group : groups[worker]) {
      barrier.wait();
      const auto begin = Clock::now();
      for (int i = 0; i < kBarriers; ++i) barrier.wait();
      group = seconds_since(begin) / kBarriers;
    }
    barrier.wait();
    const auto begin_multiply = Clock::now();
    sums[worker] = multiply(table_, rounds_).sum;
    barrier.wait();
    if (worker == 0) seconds = seconds_since(begin_multiply);
  });
  if (team.size() > 1) state.barrier = median(groups[0]);
  state.flops = multiply(table_, 1).flops * static_cast<double>(rounds_) / std::max(1e-9, seconds);
  return state;
}

void UsualState::learn(base::Team& team, double seconds) {
  std::vector<MachineState> seen;
  const auto begin = Clock::now();
  do {
    seen.push_back(look(team));
    std::this_thread::sleep_for(kBetweenLooks);
  } while (seconds_since(begin) < seconds);
  std::vector<double> times, barriers;
  for (const MachineState& state : seen) times.push_back(1 / state.flops);
  usual_.flops = 1 / lower_quarter(std::move(times));
  for (const MachineState& state : seen) {  // workers on one core meet at once, and multiply half as fast
    if (state.flops >= kLeastFlops * usual_.flops) barriers.push_back(state.barrier);
  }
  usual_.barrier = lower_quarter(std::move(barriers));
  seen_usual_ = {};
}

bool UsualState::is_usual(base::Team& team) {
  if (Clock::now() - seen_usual_ < kFresh) return true;
  // A hiccup is no state, and workers of another team may still be awake.
  const int tries = spent_ < patience_ ? 3 : 1;
  for (int i = 0; i < tries; ++i) {
    if (i > 0) std::this_thread::sleep_for(kFresh);
    const MachineState state = look(team);
    const bool near = team.size() == 1 || state.barrier <= kMostBarrier * usual_.barrier;
    if (!near || state.flops < kLeastFlops * usual_.flops) continue;
    seen_usual_ = Clock::now();
    return true;
  }
  return false;
}

void UsualState::wait(base::Team& team) {
  const auto begin = Clock::now();
  while (spent_ + seconds_since(begin) < patience_ && !is_usual(team))
    std::this_thread::sleep_for(kBetweenLooks);
  if (const double waited = seconds_since(begin); waited > 2e-3) spent_ += waited;
}

}  // namespace tw::plan
