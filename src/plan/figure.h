// One number of an answer, with what it is for people and programs.
#pragma once

#include <optional>
#include <string>

#include "plan/quantity.h"

namespace tw::plan {

/// One number of an answer, or why there is none.
struct Figure {
  std::string key;    ///< for programs: "step_seconds"
  std::string title;  ///< for people: "a step"
  std::optional<Quantity> value;
  std::string missing;  ///< why there is none
  std::string how;      ///< the formula in a few words
};

}  // namespace tw::plan
