// Ranges of fields that are numbers.
#pragma once

#include "base/result.h"

namespace tw::spec {

/// The error names the field, its value and its range. A NaN is in no range.
inline base::Status in_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return base::Ok{};
  return base::error(base::Code::kInvalidArgument, "{} is {}, but must be {} to {}", name, value, low, high);
}

}  // namespace tw::spec
