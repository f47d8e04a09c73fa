#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja_format.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;

constexpr Int kMaxPrecision = 1000;

bool is_align(char c) {
  return c == '<' || c == '>' || c == '^' || c == '=';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

/// Digits at the front; -1 without any. Far more than any width saturates.
Int take_number(std::string_view& text) {
  Int out = -1;
  while (!text.empty() && is_digit(text[0])) {
    out = std::min<Int>(std::max<Int>(out, 0) * 10 + (text[0] - '0'), INT64_MAX);
    text.remove_prefix(1);
  }
  return out;
}

/// Returns whether a fill character was given.
bool take_alignment(std::string_view& text, FormatSpec& out) {
  if (text.empty()) return false;
  std::size_t first = 0;
  base::decode_utf8(text, first);
  if (first < text.size() && is_align(text[first])) {
    out.fill = std::string(text.substr(0, first));
    out.align = text[first];
    text.remove_prefix(first + 1);
    return true;
  }
  if (is_align(text[0])) {
    out.align = text[0];
    text.remove_prefix(1);
  }
  return false;
}

/// Puts a separator between groups of digits before the decimal point.
std::string grouped(const std::string& digits, char separator, std::size_t group) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string_view sign_of(const FormatSpec& spec, bool negative) {
  if (negative) return "-";
  return spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
}

base::Error bad_type(const FormatSpec& spec, std::string_view type) {
  return template_error("Unknown format code '{}' for object of type '{}'", spec.type, type);
}

/// Without a type: as repr() writes it, or with 'g' when a precision is given, but never without a decimal
/// point.
std::string plain_float(const FormatSpec& spec, double magnitude) {
  if (spec.precision < 0) return float_text(magnitude);
  std::string text = float_styled(magnitude, 'g', static_cast<int>(spec.precision), spec.alternate);
  const bool whole = text.find_first_of(".e") == std::string::npos;
  if (!whole) return text;
  // One digit more for ".0" is only there if the precision leaves room for it.
  if (static_cast<Int>(text.size()) < spec.precision) return text + ".0";
  return float_styled(magnitude, 'e', static_cast<int>(std::max<Int>(spec.precision - 1, 0)), spec.alternate);
}

Result<std::string> format_string(Runtime& runtime, const FormatSpec& spec, const Value& value) {
  if (spec.type != 0 && spec.type != 's') return bad_type(spec, "str");
  if (spec.align == '=') return template_error("'=' alignment not allowed in string format specifier");
  std::string text = value.text();
  if (spec.precision >= 0 && spec.precision < static_cast<Int>(value.as<String>().length)) {
    text.resize(byte_offset(text, static_cast<std::size_t>(spec.precision)));
  }
  return pad_text(runtime, spec, '<', std::move(text));
}

}  // namespace

Result<FormatSpec> parse_format_spec(std::string_view spec) {
  FormatSpec out;
  std::string_view rest = spec;
  const bool filled = take_alignment(rest, out);
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-' || rest[0] == ' ')) {
    out.sign = rest[0];
    rest.remove_prefix(1);
  }
  out.alternate = take(rest, '#');
  out.zero = take(rest, '0') && !filled;
  if (out.zero) out.fill = "0";
  out.width = std::max<Int>(take_number(rest), 0);
  if (take(rest, ','))
    out.grouping = ',';
  else if (take(rest, '_'))
    out.grouping = '_';
  if (take(rest, '.')) {
    out.precision = take_number(rest);
    if (out.precision < 0) return template_error("Format specifier missing precision");
  }
  if (!rest.empty()) {
    out.type = rest[0];
    rest.remove_prefix(1);
  }
  if (!rest.empty()) return template_error("Invalid format specifier '{}'", spec);
  return out;
}

Result<std::string> pad_text(Runtime& runtime, const FormatSpec& spec, char align, std::string text) {
  const std::size_t length = code_points(text);
  if (spec.width <= static_cast<Int>(length)) return text;
  if (spec.width > INT32_MAX) return runtime.reserve(SIZE_MAX).error();
  const std::size_t missing = static_cast<std::size_t>(spec.width) - length;
  TW_RETURN_IF_ERROR(runtime.reserve(missing * spec.fill.size()));
  const char side = spec.align == 0 ? align : spec.align;
  const std::size_t left = side == '<' ? 0 : side == '^' ? missing / 2 : missing;
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += spec.fill;
  out += text;
  for (std::size_t i = left; i < missing; ++i) out += spec.fill;
  return out;
}

Result<std::string> pad_number(Runtime& runtime, const FormatSpec& spec, std::string_view sign,
                               std::string_view prefix, std::string digits) {
  std::string head = std::string(sign) + std::string(prefix);
  const bool after_sign = spec.align == '=' || (spec.align == 0 && spec.zero);
  if (!after_sign) return pad_text(runtime, spec, '>', head + digits);
  FormatSpec inner = spec;
  inner.align = '>';
  inner.width = std::max<Int>(spec.width - static_cast<Int>(head.size()), 0);
  TW_ASSIGN_OR_RETURN(const std::string padded, pad_text(runtime, inner, '>', std::move(digits)));
  return head + padded;
}

Result<std::string> format_int(Runtime& runtime, const FormatSpec& spec, Int value) {
  const char type = spec.type == 0 || spec.type == 'n' ? 'd' : spec.type;
  if (type == 'c') {
    std::string text;
    base::append_utf8(text, static_cast<char32_t>(std::clamp<Int>(value, 0, 0x110000)));
    return pad_text(runtime, spec, '<', std::move(text));
  }
  const int base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : type == 'd' ? 10 : 0;
  if (base == 0) return bad_type(spec, "int");
  if (spec.precision >= 0) return template_error("Precision not allowed in integer format specifier");
  std::string digits = digits_text(value < 0 ? -value : value, base);
  if (spec.grouping != 0) digits = grouped(digits, spec.grouping, base == 10 ? 3 : 4);
  std::string prefix = spec.alternate && base != 10 ? std::string("0") + type : "";
  if (type == 'X')
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return c >= 'a' ? c - 32 : c; });
  return pad_number(runtime, spec, sign_of(spec, value < 0), prefix, std::move(digits));
}

Result<std::string> format_float(Runtime& runtime, const FormatSpec& spec, double value) {
  const char type = spec.type == 'n' ? 'g' : spec.type;
  const char lower = static_cast<char>(type | 0x20);
  const bool percent = type == '%';
  if (type != 0 && !percent && lower != 'e' && lower != 'f' && lower != 'g') return bad_type(spec, "float");
  if (spec.precision > kMaxPrecision) {
    return base::error(base::Code::kResourceExhausted, "a format asks for more than {} digits",
                       kMaxPrecision);
  }
  const double magnitude = std::fabs(value) * (percent ? 100 : 1);
  std::string digits;
  if (!std::isfinite(magnitude)) {
    digits = std::isnan(magnitude) ? "nan" : "inf";
  } else if (type == 0) {
    digits = plain_float(spec, magnitude);
  } else {
    const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    digits = float_styled(magnitude, percent ? 'f' : lower, precision, spec.alternate);
  }
  if (spec.grouping != 0) digits = grouped(digits, spec.grouping, 3);
  if (percent) digits += '%';
  if (type == 'E' || type == 'F' || type == 'G') digits = to_upper(digits);
  const bool negative = std::signbit(value) && !std::isnan(value);
  return pad_number(runtime, spec, sign_of(spec, negative), "", std::move(digits));
}

Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view spec_text) {
  if (value.is_undefined() && spec_text.empty()) return std::string();
  const bool plain = spec_text.empty() || !(value.is_number() || value.is_string());
  if (plain && !spec_text.empty()) {
    return template_error("unsupported format string passed to {}.__format__", value.type_name());
  }
  if (plain) return to_text(runtime, value);
  TW_ASSIGN_OR_RETURN(const FormatSpec spec, parse_format_spec(spec_text));
  if (value.is_string()) return format_string(runtime, spec, value);
  const bool float_type =
      spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (value.is_integer() && !float_type) return format_int(runtime, spec, value.as_int());
  return format_float(runtime, spec, value.as_double());
}

}  // namespace tw::text::jinja
