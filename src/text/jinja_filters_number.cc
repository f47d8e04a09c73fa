// Filters on numbers.
#include <algorithm>
#include <cmath>

#include "text/jinja_filter_tables.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// int(float): empty for what Python refuses.
std::optional<Int> truncated(double d) {
  if (!std::isfinite(d) || std::fabs(d) > 1e38) return std::nullopt;
  return static_cast<Int>(d);
}

Result<Value> to_int(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("int", args, {"default", "base"}, 0));
  TW_ASSIGN_OR_RETURN(const Int number_base, bound.integer(1, 10));
  const Value fallback = bound[0] == nullptr ? Value::integer(0) : *bound[0];
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_integer()) return Value::integer(value.as_int());
  if (value.is(Kind::kFloat)) {
    const std::optional<Int> whole = truncated(value.as_double());
    if (whole) return Value::integer(*whole);
    if (std::isinf(value.as_double())) return template_error("cannot convert float infinity to integer");
    return fallback;
  }
  if (!value.is_string()) return fallback;
  if (number_base == 0 || (number_base >= 2 && number_base <= 36)) {
    if (const std::optional<Int> whole = read_int(value.text(), static_cast<int>(number_base)))
      return Value::integer(*whole);
  }
  const std::optional<double> number = read_float(value.text());
  const std::optional<Int> whole = number ? truncated(*number) : std::nullopt;
  return whole ? Value::integer(*whole) : fallback;
}

Result<Value> to_float(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("float", args, {"default"}, 0));
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_number()) return Value::real(value.as_double());
  const std::optional<double> number = value.is_string() ? read_float(value.text()) : std::nullopt;
  if (number) return Value::real(*number);
  return bound[0] == nullptr ? Value::real(0) : *bound[0];
}

Result<Value> absolute(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("abs", args, {}, 0));
  if (value.is_undefined()) return undefined_error(value);
  if (value.is(Kind::kFloat)) return Value::real(std::fabs(value.as_double()));
  if (!value.is_integer()) return template_error("bad operand type for abs(): '{}'", value.type_name());
  return value.as_int() < 0 ? negative(runtime, value) : Value::integer(value.as_int());
}

/// round() of an integer to tens, hundreds, ...: half to even.
Int round_to_tens(Int value, Int places) {
  constexpr Int kLarge = static_cast<Int>(1) << 125;
  if (places > 37) return 0;
  if (value > kLarge || value < -kLarge) return value;
  Int unit = 1;
  for (Int i = 0; i < places; ++i) unit *= 10;
  const Int rest = (value % unit + unit) % unit;
  const Int down = value - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2 != 0);
  return up ? down + unit : down;
}

Result<Value> round(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("round", args, {"precision", "method"}, 0));
  TW_ASSIGN_OR_RETURN(const Int wanted, bound.integer(0, 0));
  TW_ASSIGN_OR_RETURN(const std::string method, bound.text(1, "common"));
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is_number()) return template_error("type {} doesn't define __round__ method", value.type_name());
  const Int places = std::clamp<Int>(wanted, -1000, 1000);
  if (method == "common") {
    if (!value.is_integer()) return Value::real(round_float(value.as_double(), static_cast<int>(places)));
    return Value::integer(places >= 0 ? value.as_int() : round_to_tens(value.as_int(), -places));
  }
  if (method != "ceil" && method != "floor") return template_error("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(places));
  const double scaled = value.as_double() * scale;
  if (!std::isfinite(scaled)) return template_error("cannot convert float infinity or NaN to integer");
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

constexpr NamedFilter kFilters[] = {
    {"abs", absolute}, {"float", to_float}, {"int", to_int}, {"round", round}};

}  // namespace

std::span<const NamedFilter> number_filters() {
  return kFilters;
}

}  // namespace tw::text::jinja
