// Python's format specifications, shared by '%' and str.format().
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_runtime.h"

namespace tw::text::jinja {

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct FormatSpec {
  std::string fill = " ";
  bool zero = false;  ///< numbers without an alignment are padded after their sign
  char align = 0;     ///< '<', '>', '^', '=', or 0 for the type's own
  char sign = '-';
  bool alternate = false;
  Int width = 0;
  char grouping = 0;
  Int precision = -1;
  char type = 0;
};

base::Result<FormatSpec> parse_format_spec(std::string_view spec);
/// format(value, spec).
base::Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view spec);

/// A number's text, made of sign, prefix ("0x") and digits, padded to the width.
base::Result<std::string> pad_number(Runtime& runtime, const FormatSpec& spec, std::string_view sign,
                                     std::string_view prefix, std::string digits);
/// Text padded to the width in code points. `align` stands for an absent one.
base::Result<std::string> pad_text(Runtime& runtime, const FormatSpec& spec, char align, std::string text);

/// An int in style d, x, X, o, b; a float in style e, E, f, F, g, G, %.
base::Result<std::string> format_int(Runtime& runtime, const FormatSpec& spec, Int value);
base::Result<std::string> format_float(Runtime& runtime, const FormatSpec& spec, double value);

}  // namespace tw::text::jinja
