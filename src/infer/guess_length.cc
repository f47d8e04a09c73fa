#include "infer/guess_length.h"

#include <algorithm>

namespace tw::infer {
namespace {

constexpr std::int64_t kRetry = 32, kTrial = 2;  ///< steps without a guess, after which so many are tried
constexpr double kLearn = 0.08;                  ///< of one guess

}  // namespace

void GuessCosts::stepped(std::int64_t extra, double seconds) {
  if (extra == 0) return blend(step_, seconds);
  if (step_ > 0) blend(row_, std::max(0.0, seconds - step_) / static_cast<double>(extra));
}

std::int64_t GuessLength::choose(const GuessCosts& costs, std::int64_t limit) {
  limit = std::min(limit, kLongest);
  // Before a plain step was timed there is nothing to compare with.
  if (limit < 1 || costs.step() == 0) return 0;
  std::int64_t best = 0;
  double expected = 1, power = 1, best_speed = 1 / costs.step();
  for (std::int64_t count = 1; count <= limit; ++count) {
    power *= rate_;
    expected += power;
    const double seconds = costs.step() + static_cast<double>(count) * (costs.draft() + costs.row());
    if (expected / seconds <= best_speed) continue;
    best_speed = expected / seconds;
    best = count;
  }
  if (best == 0 && ++since_guess_ >= kRetry) best = std::min(kTrial, limit);
  if (best > 0) since_guess_ = 0;
  return best;
}

void GuessLength::learn(std::int64_t guessed, std::int64_t right) {
  for (std::int64_t i = 0; i < right; ++i) rate_ += kLearn * (1 - rate_);
  if (right < guessed) rate_ -= kLearn * rate_;
}

}  // namespace tw::infer
