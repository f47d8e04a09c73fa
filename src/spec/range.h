// Ranges of fields that are numbers.
#pragma once

#include "base/result.h"

namespace tw::spec {

/// The error names the field, its value and its range. A NaN is in no range.
inline base::Status in_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return base::Ok{};
  return base::error(base::Code::kInvalidArgument, "{} is {}, but must be {} to {}", name, value, low, high);
}

/// As in_range, of a whole number that has no default: 0 is what nobody gave, and then the error says with
/// which flag or key it is given. `what`: "sequences of a step"; `file`: "job", whose file has the key.
inline base::Status given_in_range(const char* name, double value, double high, const char* what,
                                   const char* file) {
  if (value != 0) return in_range(name, value, 1, high);
  return base::error(base::Code::kInvalidArgument,
                     "{0} is not given, or 0: give --{0} N, or \"{0}\" in the {1}'s file ({2}, 1 to {3})",
                     name, file, what, high);
}

}  // namespace tw::spec
