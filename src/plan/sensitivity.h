// What a plan's days hang on: each input a fifth lower and higher, all else equal.
#pragma once

#include <string>
#include <vector>

#include "plan/estimate.h"

namespace tw::plan {

struct Sensitivity {
  std::string input;
  double days_lower = 0, days_higher = 0;  ///< with the input a fifth lower, and higher
};

/// Those inputs that move the days by a thousandth or more, the strongest first. The plan stays the same.
base::Result<std::vector<Sensitivity>> sensitivity(const Setting& setting, const spec::ParallelPlan& plan);

}  // namespace tw::plan
