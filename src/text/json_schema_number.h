// Numbers within bounds, exactly: automata over their digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "text/grammar_builder.h"
#include "text/json_schema_parts.h"

namespace tw::text {

/// A decimal number without an exponent: sign, digits before the point (no leading zeros; empty is 0), digits
/// after it (no trailing zeros).
struct Decimal {
  bool negative = false;
  std::string whole;
  std::string fraction;
};

struct DecimalBound {
  Decimal value;
  bool exclusive = false;
};

/// minimum, maximum, exclusiveMinimum, exclusiveMaximum and multipleOf of all parts together.
struct NumberLimits {
  std::optional<DecimalBound> lo, hi;
  std::int64_t multiple_of = 1;
  bool bounded() const { return lo.has_value() || hi.has_value(); }
};

base::Result<NumberLimits> number_limits(const Goal& parts, bool only_integers);

/// Integers of at most 18 digits within the limits, without "-0".
base::Result<ExprId> integer_between(GrammarBuilder& builder, const NumberLimits& limits);

/// Numbers of at most 15 digits without exponent, within the limits. As doubles have 15 safe digits, what is
/// read back is within the limits, too. REQUIRES: multiple_of is 1.
ExprId number_between(GrammarBuilder& builder, const NumberLimits& limits);

/// Whether a constant is within the limits (compared as doubles or integers, as a validator would).
bool within(const NumberLimits& limits, const base::OrderedJson& value);

}  // namespace tw::text
