// What a serving plan's numbers are made of and hang on: for pages with charts.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plan/serve_plan.h"

namespace tw::plan {

/// Seconds between two tokens of a sequence by what takes them; they sum to the option's output_token.
base::Result<std::vector<std::pair<const char*, double>>> token_parts(const ServeSetting& setting,
                                                                      const ServeOption& option);

/// Tokens a second of the cluster with an input a fifth lower and a fifth higher, all else equal.
struct ServeSensitivity {
  std::string input;
  double lower = 0, higher = 0;
};
/// In closed form, of the same division and batch, or what fits of it with longer requests (0: none does);
/// where the batch was all that fits, with all that fits. Those inputs that move the tokens a second by a
/// thousandth or more, the strongest first.
base::Result<std::vector<ServeSensitivity>> serve_sensitivity(const ServeSetting& setting,
                                                              const ServeOption& option);

}  // namespace tw::plan
