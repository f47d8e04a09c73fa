// Errors in the words of those who gave flags: a recipe's keys become flags.
#pragma once

#include <set>
#include <string>

namespace tw::spec {

/// What somebody gave.
struct GivenFlags {
  bool alone = false;           ///< no recipe: whatever is told of was given by flags, or could be
  std::set<std::string> typed;  ///< without dashes: "schedule-peak"
  std::string data = "--data";  ///< what named the data, where there is no recipe
};

/// A message with the keys in it as flags, those that were typed or, without a recipe, all: "schedule.peak",
/// "stages[0].schedule.peak" and, in quotes, "\"batch\"" are keys; names in other text are left alone.
std::string with_flags(const std::string& message, const GivenFlags& given);

}  // namespace tw::spec
