// Numbers as Python reads, compares and writes them.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace tw::text::jinja {

/// Exact order of an int, bool or float against another, as Python compares them. REQUIRES: both are numbers.
std::partial_ordering compare_numbers(const Value& a, const Value& b);

std::string int_text(Int i);
/// Digits of `i` >= 0 in base 2, 8, 10 or 16, lower case.
std::string digits_text(Int i, int base);
/// repr(float): the shortest digits that read back as the same number.
std::string float_text(double d);
/// '%f', '%e', '%g' of Python (`style` is the letter, lower case) for a finite number. `alternate` is the '#'
/// flag. REQUIRES: 0 <= precision <= 1000.
std::string float_styled(double d, char style, int precision, bool alternate);
/// round(value, digits) for floats: half to even on the exact value.
double round_float(double d, int digits);

/// int(text, base) and float(text): spaces around and single underscores between digits are allowed. Empty
/// when Python would raise ValueError, or when the number is past 128 bits.
std::optional<Int> read_int(std::string_view text, int base);
std::optional<double> read_float(std::string_view text);

}  // namespace tw::text::jinja
