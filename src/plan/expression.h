// Arithmetic that claim files are written in: numbers, names, + - * / ^, parentheses, min, max, sqrt, ceil,
// floor, abs; of numbers that each have a range, by intervals.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/quantity.h"

namespace tw::plan {

/// A number, the range that it is believed in, and the least sure of what it was computed from.
struct Ranged {
  double value = 0, low = 0, high = 0;
  std::optional<Provenance> provenance;  ///< none: of numbers alone that stand in the formula

  static Ranged point(double value) { return {value, value, value, std::nullopt}; }
};

/// The value of a name, such as an input or "H100.bf16_dense_tflops"; of a function, with its arguments.
using NameValue =
    std::function<base::Result<Ranged>(const std::string& name, std::span<const Ranged> arguments)>;
/// By interval arithmetic: the range holds whatever the numbers make of their ranges. A name that stands
/// twice is taken twice, so the range may be too wide and is never too narrow. Errors show the text and say
/// what is wrong with it; dividing by a range that holds 0 is one.
base::Result<Ranged> evaluate(std::string_view text, const NameValue& names);

}  // namespace tw::plan
