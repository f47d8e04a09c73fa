// How the learning rate goes over the steps of a run.
#pragma once

#include <cstdint>

namespace tw::train {

enum class Decay { kConstant, kCosine, kLinear, kWarmupStableDecay };

struct Schedule {
  Decay decay = Decay::kCosine;
  double peak = 1e-3;
  double last = 0.1;          ///< share of the peak that is left at the end
  std::int64_t steps = 1000;  ///< of the run
  std::int64_t warmup = 0;    ///< steps of rising from 0: step i of them has (i + 1) / warmup of the peak
  double falling = 0.2;       ///< kWarmupStableDecay: share of the steps in which the rate falls, linearly
};

/// Of step 0, 1, ...; past the end it stays.
double rate_at(const Schedule& schedule, std::int64_t step);

}  // namespace tw::train
