#include "text/jinja_number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

constexpr double kTwo127 = 170141183460469231731687303715884105728.0;

std::partial_ordering compare_int_float(Int i, double d) {
  if (std::isnan(d)) return std::partial_ordering::unordered;
  if (d >= kTwo127) return std::partial_ordering::less;
  if (d < -kTwo127) return std::partial_ordering::greater;
  const double whole = std::trunc(d);
  const Int whole_int = static_cast<Int>(whole);
  if (i != whole_int) return i < whole_int ? std::partial_ordering::less : std::partial_ordering::greater;
  return 0.0 <=> (d - whole);
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

/// Drops underscores that stand between two digits; empty if one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between =
        i > 0 && i + 1 < text.size() && digit_value(text[i - 1]) < 36 && digit_value(text[i + 1]) < 36;
    if (!between) return std::nullopt;
  }
  return out;
}

/// Removes 0x, 0o or 0b where the base allows it; base 0 takes the base from it.
bool take_prefix(std::string_view& text, int& base) {
  int named = 0;
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  }
  if (named != 0 && (base == 0 || base == named)) {
    text.remove_prefix(text[2] == '_' && text.size() > 3 ? 3 : 2);
    base = named;
  } else if (base == 0) {
    base = 10;
    const bool all_zero = text.find_first_not_of("0_") == std::string_view::npos;
    return text.empty() || text[0] != '0' || all_zero;
  }
  return true;
}

/// Digits "12345" and the power of ten of the first one, from to_chars' scientific form.
struct Digits {
  std::string digits;
  int exponent = 0;
};

Digits split_scientific(std::string_view text) {
  const std::size_t e = text.find('e');
  Digits out;
  for (const char c : text.substr(0, e)) {
    if (c != '.') out.digits += c;
  }
  std::string_view exponent = text.substr(e + 1);
  if (exponent.front() == '+') exponent.remove_prefix(1);
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), out.exponent);
  return out;
}

std::string exponent_text(int exponent) {
  const std::string digits = std::to_string(std::abs(exponent));
  return std::string(exponent < 0 ? "e-" : "e+") + (digits.size() < 2 ? "0" : "") + digits;
}

std::string shortest(double magnitude) {
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude, std::chars_format::scientific);
  return std::string(buffer.data(), end.ptr);
}

std::string plain_notation(const Digits& d) {
  const int size = static_cast<int>(d.digits.size());
  if (d.exponent < 0) return "0." + std::string(static_cast<std::size_t>(-d.exponent) - 1, '0') + d.digits;
  if (d.exponent + 1 >= size)
    return d.digits + std::string(static_cast<std::size_t>(d.exponent) + 1 - size, '0') + ".0";
  const auto point = static_cast<std::size_t>(d.exponent) + 1;
  return d.digits.substr(0, point) + "." + d.digits.substr(point);
}

std::string with_precision(double d, std::chars_format format, int precision) {
  std::string buffer(static_cast<std::size_t>(precision) + 400, '\0');
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), d, format, precision);
  buffer.resize(static_cast<std::size_t>(end.ptr - buffer.data()));
  return buffer;
}

void strip_zeros(std::string& text) {
  if (text.find('.') == std::string::npos) return;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
}

std::string general(double d, int precision, bool alternate) {
  precision = std::max(precision, 1);
  const Digits digits =
      split_scientific(with_precision(std::fabs(d), std::chars_format::scientific, precision - 1));
  const bool plain = digits.exponent >= -4 && digits.exponent < precision;
  std::string text = plain ? with_precision(d, std::chars_format::fixed, precision - 1 - digits.exponent)
                           : with_precision(d, std::chars_format::scientific, precision - 1);
  if (alternate) return text;
  const std::size_t e = text.find('e');
  std::string mantissa = text.substr(0, e);
  strip_zeros(mantissa);
  return e == std::string::npos ? mantissa : mantissa + text.substr(e);
}

}  // namespace

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.as_int() <=> b.as_int();
  if (a.is_integer()) return compare_int_float(a.as_int(), b.as_double());
  if (b.is_integer()) return 0 <=> compare_int_float(b.as_int(), a.as_double());
  return a.as_double() <=> b.as_double();
}

std::string digits_text(Int i, int base) {
  auto rest = static_cast<unsigned __int128>(i);
  std::string out;
  do {
    out += "0123456789abcdef"[static_cast<int>(rest % static_cast<unsigned>(base))];
    rest /= static_cast<unsigned>(base);
  } while (rest != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string int_text(Int i) {
  if (i >= 0) return digits_text(i, 10);
  return "-" + digits_text(static_cast<Int>(-static_cast<unsigned __int128>(i)), 10);
}

std::string float_text(double d) {
  if (std::isnan(d)) return "nan";
  const std::string sign = std::signbit(d) ? "-" : "";
  if (std::isinf(d)) return sign + "inf";
  const std::string scientific = shortest(std::fabs(d));
  const Digits digits = split_scientific(scientific);
  if (digits.exponent >= -4 && digits.exponent < 16) return sign + plain_notation(digits);
  return sign + scientific.substr(0, scientific.find('e')) + exponent_text(digits.exponent);
}

std::string float_styled(double d, char style, int precision, bool alternate) {
  std::string text =
      style == 'g'
          ? general(d, precision, alternate)
          : with_precision(d, style == 'e' ? std::chars_format::scientific : std::chars_format::fixed,
                           precision);
  if (alternate && text.find('.') == std::string::npos)
    text.insert(std::min(text.find('e'), text.size()), ".");
  return text;
}

double round_float(double d, int digits) {
  if (!std::isfinite(d) || digits > 400) return d;
  if (digits < -400) return std::copysign(0.0, d);
  if (digits < 0) {
    const double unit = std::pow(10.0, -digits);
    return std::nearbyint(d / unit) * unit;
  }
  const std::string text = with_precision(d, std::chars_format::fixed, digits);
  double out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

std::optional<Int> read_int(std::string_view text, int base) {
  text = strip(text, Side::kBoth);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (!take_prefix(text, base)) return std::nullopt;
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits || digits->empty()) return std::nullopt;
  Int out = 0;
  for (const char c : *digits) {
    const int digit = digit_value(c);
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(out, static_cast<Int>(base), &out)) return std::nullopt;
    if (__builtin_add_overflow(out, static_cast<Int>(digit), &out)) return std::nullopt;
  }
  return negative ? -out : out;
}

std::optional<double> read_float(std::string_view text) {
  const std::optional<std::string> clean = without_underscores(strip(text, Side::kBoth));
  if (!clean) return std::nullopt;
  std::string_view rest = *clean;
  const bool negative = !rest.empty() && rest[0] == '-';
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return std::nullopt;
  double out = 0;
  const auto end = std::from_chars(rest.data(), rest.data() + rest.size(), out);
  if (end.ptr != rest.data() + rest.size() || rest.back() == ')') return std::nullopt;
  if (end.ec == std::errc::result_out_of_range) {
    const bool tiny = rest.find("e-") != std::string_view::npos || rest.find("E-") != std::string_view::npos;
    out = tiny ? 0.0 : HUGE_VAL;
  } else if (end.ec != std::errc{}) {
    return std::nullopt;
  }
  return negative ? -out : out;
}

}  // namespace tw::text::jinja
