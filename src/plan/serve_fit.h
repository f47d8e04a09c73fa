// Fitting a serving stack's constants to measured times per output token.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/serving.h"

namespace tw::plan {

struct ServeSample {
  ServeBasis basis;
  double seconds = 0;      ///< measured, per output token
  double first_token = 0;  ///< measured; 0: not to be learnt from
  double waves = 1;        ///< the simulated time per token over the closed form's, with typical constants
};

/// By stack and by deployment.
using ServeSamples = std::map<std::string, std::map<std::string, std::vector<ServeSample>>>;

/// The constants that make the mean absolute relative error small, kept near the typical ones by a prior.
ServeConstants fit_serving(const std::vector<const ServeSample*>& samples);

/// Those of a stack's samples that are not of `left_out`.
std::vector<const ServeSample*> others_of(const ServeSamples& samples, const std::string& stack,
                                          const std::string& left_out);

/// The median of each constant over the stacks, fitted without `left_out`.
ServeConstants median_stack(const ServeSamples& samples, const std::string& left_out);

}  // namespace tw::plan
