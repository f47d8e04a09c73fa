// Arithmetic that claim files are written in: numbers with units, names, + - * / ^, parentheses, min, max,
// sqrt, ceil, floor, abs.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::plan {

/// The value of a name, such as an input or "H100.bf16_dense_tflops"; of a function, with its arguments.
using NameValue =
    std::function<base::Result<double>(const std::string& name, std::span<const double> arguments)>;
/// Errors show the text and say what is wrong with it.
base::Result<double> evaluate(std::string_view text, const NameValue& names);

}  // namespace tw::plan
