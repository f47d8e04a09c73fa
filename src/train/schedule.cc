#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tw::train {

double rate_at(const Schedule& s, std::int64_t step) {
  if (step < s.warmup) return s.peak * static_cast<double>(step + 1) / static_cast<double>(s.warmup);
  const double share_falling = s.decay == Decay::kWarmupStableDecay ? s.falling : 1;
  const double all = static_cast<double>(std::max<std::int64_t>(1, s.steps - s.warmup));
  const double done = std::clamp(static_cast<double>(step - s.warmup) / all, 0.0, 1.0);
  const double fallen = share_falling > 0 ? std::max(0.0, (done - (1 - share_falling)) / share_falling) : 0;
  switch (s.decay) {
    case Decay::kConstant:
      return s.peak;
    case Decay::kCosine:
      return s.peak * (s.last + (1 - s.last) * (1 + std::cos(std::numbers::pi * done)) / 2);
    default:
      return s.peak * (1 - (1 - s.last) * fallen);
  }
}

}  // namespace tw::train
