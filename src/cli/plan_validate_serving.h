// The serving half of `plan validate`.
#pragma once

#include <vector>

#include "plan/serve_validate.h"

namespace tw::cli {

/// Worst rows first, then by system, then what has no prediction.
void print_serving(const std::vector<plan::ServePrediction>& predictions, int worst);

}  // namespace tw::cli
