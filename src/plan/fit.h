// Fitting a stack's constants to measured steps.
#pragma once

#include <functional>
#include <vector>

#include "plan/training.h"

namespace tw::plan {

/// A measured step.
struct Sample {
  StepBasis basis;
  double seconds = 0;
};

/// Finds a small value of f near `start` (Nelder and Mead 1965, at most `steps` steps).
std::vector<double> minimize(const std::function<double(const std::vector<double>&)>& f,
                             std::vector<double> start, int steps);

/// The constants that make the mean absolute relative error small, kept near kTypical by a prior that weighs
/// about as much as two samples: few samples move what they say something of and nothing else.
Constants fit_constants(const std::vector<const Sample*>& samples);

}  // namespace tw::plan
