#include "train/schedule.h"

#include <gtest/gtest.h>

namespace tw::train {
namespace {

struct Case {
  Decay decay;
  std::int64_t step;
  double wanted;
};

TEST(Schedule, RisesStaysAndFalls) {
  // 10 steps of warm-up, 100 of decay, to a tenth.
  const Case cases[] = {
      {Decay::kCosine, 0, 0.1},
      {Decay::kCosine, 9, 1},
      {Decay::kCosine, 10, 1},
      {Decay::kCosine, 60, 0.55},
      {Decay::kCosine, 110, 0.1},
      {Decay::kCosine, 500, 0.1},
      {Decay::kLinear, 4, 0.5},
      {Decay::kLinear, 60, 0.55},
      {Decay::kLinear, 110, 0.1},
      {Decay::kConstant, 4, 0.5},
      {Decay::kConstant, 110, 1},
      {Decay::kWarmupStableDecay, 60, 1},
      {Decay::kWarmupStableDecay, 90, 1},
      {Decay::kWarmupStableDecay, 100, 0.55},
      {Decay::kWarmupStableDecay, 110, 0.1},
  };
  for (const Case& c : cases)
    EXPECT_NEAR(rate_at({c.decay, 1, 0.1, 110, 10, 0.2}, c.step), c.wanted, 1e-9)
        << static_cast<int>(c.decay) << " at " << c.step;
}

}  // namespace
}  // namespace tw::train
