// + - * / // % ** on numbers, text and lists, as Python has them.
#include <cmath>

#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSub:
      return "-";
    case Op::kMul:
      return "*";
    case Op::kDiv:
      return "/";
    case Op::kFloorDiv:
      return "//";
    case Op::kMod:
      return "%";
    default:
      return "** or pow()";
  }
}

base::Error unsupported(Op op, const Value& a, const Value& b) {
  return template_error("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), a.type_name(),
                        b.type_name());
}

base::Error overflow() {
  return base::error(base::Code::kUnsupported, "an integer goes beyond 128 bits");
}

/// a // b rounded down. REQUIRES: b != 0.
Int floor_div(Int a, Int b) {
  const Int quotient = a / b;
  return a % b != 0 && ((a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

/// a % b with the sign of b. REQUIRES: b != 0.
Int floor_mod(Int a, Int b) {
  const Int rest = a % b;
  return rest != 0 && ((rest < 0) != (b < 0)) ? rest + b : rest;
}

double float_mod(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double float_floor_div(double a, double b) {
  const double rest = float_mod(a, b);
  const double quotient = (a - rest) / b;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double down = std::floor(quotient);
  return quotient - down > 0.5 ? down + 1.0 : down;
}

Result<Value> int_power(Int base, Int exponent) {
  Int out = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(out, base, &out)) return overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value::integer(out);
}

Result<Value> float_power(double base, double exponent) {
  if (base == 0 && exponent < 0) return template_error("0.0 cannot be raised to a negative power");
  const bool complex_result = base < 0 && exponent != std::trunc(exponent);
  if (complex_result) return base::error(base::Code::kUnsupported, "complex numbers are not supported");
  const double out = std::pow(base, exponent);
  if (std::isinf(out) && std::isfinite(base) && std::isfinite(exponent))
    return template_error("numerical result out of range");
  return Value::real(out);
}

Result<Value> int_binary(Op op, Int a, Int b) {
  constexpr Int kMin = static_cast<Int>(1)
                       << 126;  // leaves room so that negating and dividing never overflow
  Int out = 0;
  bool over = false;
  switch (op) {
    case Op::kAdd:
      over = __builtin_add_overflow(a, b, &out);
      break;
    case Op::kSub:
      over = __builtin_sub_overflow(a, b, &out);
      break;
    case Op::kMul:
      over = __builtin_mul_overflow(a, b, &out);
      break;
    case Op::kPow:
      if (b < 0) return float_power(static_cast<double>(a), static_cast<double>(b));
      return int_power(a, b);
    default: {
      if (b == 0) return template_error("division by zero");
      if (op == Op::kDiv) return Value::real(static_cast<double>(a) / static_cast<double>(b));
      out = op == Op::kFloorDiv ? floor_div(a, b) : floor_mod(a, b);
    }
  }
  if (over || out >= kMin || out <= -kMin) return overflow();
  return Value::integer(out);
}

Result<Value> float_binary(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return Value::real(a + b);
    case Op::kSub:
      return Value::real(a - b);
    case Op::kMul:
      return Value::real(a * b);
    case Op::kPow:
      return float_power(a, b);
    default:
      break;
  }
  if (b == 0) return template_error("float division by zero");
  return Value::real(op == Op::kDiv ? a / b : op == Op::kMod ? float_mod(a, b) : float_floor_div(a, b));
}

Result<Value> concatenate(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_string()) {
    TW_RETURN_IF_ERROR(runtime.reserve(a.text().size() + b.text().size()));
    const bool markup = a.is_markup() || b.is_markup();
    const auto part = [&](const Value& v) {
      return markup && !v.is_markup() ? html_escaped(v.text()) : v.text();
    };
    return runtime.string(part(a) + part(b), markup);
  }
  TW_RETURN_IF_ERROR(runtime.reserve((a.items().size() + b.items().size()) * sizeof(Value)));
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? runtime.list(std::move(items)) : runtime.tuple(std::move(items));
}

Result<Value> repeat(Runtime& runtime, const Value& what, Int times) {
  const std::size_t unit = what.is_string() ? what.text().size() : what.items().size() * sizeof(Value);
  std::size_t total = 0;
  const std::size_t count = times <= 0 ? 0 : times > INT64_MAX ? SIZE_MAX : static_cast<std::size_t>(times);
  if (__builtin_mul_overflow(unit, count, &total)) total = SIZE_MAX;
  TW_RETURN_IF_ERROR(runtime.reserve(total));
  if (what.is_string()) {
    std::string text;
    text.reserve(total);
    for (std::size_t i = 0; unit > 0 && i < count; ++i) text += what.text();
    return runtime.string(std::move(text), what.is_markup());
  }
  std::vector<Value> items;
  for (std::size_t i = 0; unit > 0 && i < count; ++i)
    items.insert(items.end(), what.items().begin(), what.items().end());
  return what.is(Kind::kList) ? runtime.list(std::move(items)) : runtime.tuple(std::move(items));
}

bool repeatable(const Value& v) {
  return v.is_string() || v.is_sequence();
}

}  // namespace

Result<Value> binary(Runtime& runtime, Op op, const Value& a, const Value& b) {
  if (op == Op::kMod && a.is_string()) return format_percent(runtime, a, b);
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  if (a.is_integer() && b.is_integer()) return int_binary(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return float_binary(op, a.as_double(), b.as_double());
  if (op == Op::kAdd && repeatable(a) && a.kind() == b.kind()) return concatenate(runtime, a, b);
  if (op == Op::kMul && repeatable(a) && b.is_integer()) return repeat(runtime, a, b.as_int());
  if (op == Op::kMul && repeatable(b) && a.is_integer()) return repeat(runtime, b, a.as_int());
  return unsupported(op, a, b);
}

Result<Value> negative(Runtime&, const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_integer()) return Value::integer(-value.as_int());
  if (value.is(Kind::kFloat)) return Value::real(-value.as_double());
  return template_error("bad operand type for unary -: '{}'", value.type_name());
}

}  // namespace tw::text::jinja
