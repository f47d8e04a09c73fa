// For this folder's tests: which kernel sets may be held to fp32.
#pragma once

#include <string>
#include <vector>

#include "kernels/table.h"

namespace tw::train {

/// Those that compute in fp32.
inline std::vector<std::string> exact_sets() {
  std::vector<std::string> sets;
  for (const std::string& name : kernels::available_sets(kernels::detect_features())) {
    const auto table = kernels::make_table(name, kernels::detect_features()).value();
    if (!table.bf16_prompts()) sets.push_back(name);
  }
  return sets;
}

}  // namespace tw::train
