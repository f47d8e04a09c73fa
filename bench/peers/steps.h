// What our programs of bench/peers/train share: steps with their times, and how much memory they took.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace tw::peers {

struct Steps {
  double seconds = 0;  ///< the median of all but the first
  double first_loss = 0;
  train::StepReport last;
};

/// `steps` whole steps on the same batches after one that is not timed.
inline base::Result<Steps> run_steps(train::Trainer& trainer, const std::vector<train::TrainBatch>& batches,
                                     int steps, double rate) {
  Steps done;
  std::vector<double> seconds;
  for (int i = 0; i < steps + 1; ++i) {
    TW_ASSIGN_OR_RETURN(done.last, trainer.step(batches, rate));
    if (i == 0)
      done.first_loss = done.last.loss;
    else
      seconds.push_back(done.last.seconds);
  }
  std::sort(seconds.begin(), seconds.end());
  done.seconds = seconds.empty() ? 0 : seconds[seconds.size() / 2];
  return done;
}

/// Of this process so far.
inline double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

inline int fail(const char* program, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", program, why.c_str());
  return 1;
}

}  // namespace tw::peers
