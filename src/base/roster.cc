#include "base/roster.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace tw::base {
namespace {

using namespace std::chrono_literals;

/// Time in which the moving average forgets: some time slices of the kernel (3 to 4 ms), few enough that a
/// starved worker is left out within a handful of steps.
constexpr auto kMemory = 40ms;
/// A worker left out is tried after the first pause; each failure doubles it up to the longest, which bounds
/// both the cost of trials and the time until a free processor is noticed.
constexpr auto kFirstPause = 30ms, kLongestPause = 250ms;
/// Who stays this long is not one that comes and goes.
constexpr auto kSettled = 250ms;

double speed_of(std::size_t workers) {
  return std::pow(static_cast<double>(workers), 0.8);
}

}  // namespace

Roster::Roster(int size) : workers_(size) {
  collect();
  sorted_.reserve(size);
}

void Roster::collect() {
  members_.clear();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].member) members_.push_back(static_cast<int>(i));
  }
}

void Roster::record(int worker, Duration worked, Duration waited) {
  if (worked <= Duration::zero()) return;
  const double share = std::clamp(std::chrono::duration<double>(waited) / worked, 0.0, 1.0);
  const double weight = std::min(1.0, std::chrono::duration<double>(worked) / kMemory);
  workers_[worker].available += weight * (1 - share - workers_[worker].available);
}

void Roster::choose(Clock::time_point now) {
  sorted_.clear();
  for (const int i : members_) sorted_.push_back(workers_[i].available);
  std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
  std::size_t best = 0;
  double best_speed = 0, all_run = 1;
  for (std::size_t k = 1; k <= sorted_.size(); ++k) {
    all_run *= sorted_[k - 1];
    if (speed_of(k) * all_run <= best_speed) continue;
    best = k;
    best_speed = speed_of(k) * all_run;
  }
  for (std::size_t out = sorted_.size() - std::max<std::size_t>(best, 1); out > 0; --out) {
    const auto worst = std::min_element(members_.begin() + 1, members_.end(), [&](int a, int b) {
      return workers_[a].available < workers_[b].available;
    });
    Worker& worker = workers_[*worst];
    worker.member = false;
    if (worker.pause == Duration::zero() || now - worker.joined > kSettled) worker.pause = kFirstPause;
    worker.joined = now;
    members_.erase(worst);
  }
  // What the others waited was in part for those who left.
  if (best < sorted_.size()) {
    for (const int i : members_) workers_[i].available = 1;
  }
}

bool Roster::trial_due(int worker, Clock::time_point now) const {
  const Worker& w = workers_[worker];
  return !w.member && now - w.joined >= w.pause;
}

Roster::Duration Roster::trial_limit() const {
  // Half of the waiting at which it would be left out again.
  const double least = speed_of(members_.size()) / speed_of(members_.size() + 1);
  return std::chrono::duration_cast<Duration>(kTrial * ((1 - least) / 2));
}

void Roster::tried(int worker, bool passed, Clock::time_point now) {
  Worker& w = workers_[worker];
  w.joined = now;
  // Doubled after a success too: one that comes and goes is tried ever more rarely.
  w.pause = std::min<Duration>(2 * w.pause, kLongestPause);
  if (!passed) return;
  w.member = true;
  w.available = 1;
  collect();
}

}  // namespace tw::base
