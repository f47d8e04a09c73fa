#include "text/json_schema_number.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

namespace tw::text {
namespace {

using base::Code;
using base::OrderedJson;
using base::Result;

constexpr std::int64_t kMostInteger = 999'999'999'999'999'999;  // 18 digits
constexpr std::int32_t kDigits = 15;
constexpr int kMostExponent = 40;

std::string stripped(const std::string& digits, bool front) {
  if (front) return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
  const auto last = digits.find_last_not_of('0');
  return last == digits.npos ? std::string() : digits.substr(0, last + 1);
}

/// Reads a JSON number's text; nothing if its exponent is beyond any use.
std::optional<Decimal> to_decimal(const OrderedJson& number) {
  std::string text = base::dump_json(number);
  Decimal out;
  if (text[0] == '-') {
    out.negative = true;
    text.erase(0, 1);
  }
  int exponent = 0;
  if (const auto e = text.find_first_of("eE"); e != text.npos) {
    const char* digits = text.c_str() + e + 1 + (text[e + 1] == '+' ? 1 : 0);
    std::from_chars(digits, text.c_str() + text.size(), exponent);
    text.resize(e);
  }
  if (exponent > kMostExponent || exponent < -kMostExponent) return std::nullopt;
  const std::size_t point = std::min(text.find('.'), text.size());
  out.whole = text.substr(0, point);
  if (point < text.size()) out.fraction = text.substr(point + 1);
  for (; exponent > 0; --exponent) {
    if (out.fraction.empty()) out.fraction = "0";
    out.whole += out.fraction[0];
    out.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    if (out.whole.empty()) out.whole = "0";
    out.fraction.insert(0, 1, out.whole.back());
    out.whole.pop_back();
  }
  out.whole = stripped(out.whole, true);
  out.fraction = stripped(out.fraction, false);
  if (out.whole.empty() && out.fraction.empty()) out.negative = false;
  return out;
}

int compare_size(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order;
  return a.fraction.compare(b.fraction);  // without trailing zeros, dictionary order is numeric order
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_size(b, a) : compare_size(a, b);
}

void tighten(std::optional<DecimalBound>& bound, const DecimalBound& other, int wanted_sign) {
  const int order = bound ? compare(other.value, bound->value) : wanted_sign;
  if (order * wanted_sign > 0)
    bound = other;
  else if (order == 0)
    bound->exclusive |= other.exclusive;
}

/// The largest integer not above the value, held to the 18 digits that we write.
std::int64_t floor_of(const Decimal& value) {
  if (value.whole.size() > 18) return value.negative ? -kMostInteger - 1 : kMostInteger;
  std::int64_t whole = 0;
  for (const char c : value.whole) whole = 10 * whole + (c - '0');
  if (!value.negative) return whole;
  return value.fraction.empty() ? -whole : -whole - 1;
}

class DigitRanges {
 public:
  explicit DigitRanges(GrammarBuilder& builder) : b_(builder) {}

  /// The decimal texts of [lo, hi], without leading zeros. REQUIRES: 0 <= lo.
  ExprId between(std::int64_t lo, std::int64_t hi) {
    std::vector<ExprId> choices;
    for (std::int64_t first = 0, last = 9; lo <= hi && first <= hi; first = last + 1, last = 10 * last + 9) {
      const std::int64_t from = std::max(lo, first), to = std::min(hi, last);
      if (from <= to) choices.push_back(same_length(std::to_string(from), std::to_string(to)));
      if (last >= kMostInteger) break;
    }
    return b_.alt(std::move(choices));
  }

 private:
  ExprId digit(char lo, char hi) {
    if (lo > hi) return b_.never();
    return b_.chars(CharSet({{static_cast<char32_t>(lo), static_cast<char32_t>(hi)}}));
  }
  ExprId any(std::size_t count) {
    return b_.repeat(digit('0', '9'), static_cast<int>(count), static_cast<int>(count));
  }

  ExprId same_length(const std::string& lo, const std::string& hi) {
    if (lo.empty()) return b_.empty();
    if (lo[0] == hi[0]) return b_.seq({digit(lo[0], lo[0]), same_length(lo.substr(1), hi.substr(1))});
    const auto middle = static_cast<char>(lo[0] + 1), middle_end = static_cast<char>(hi[0] - 1);
    return b_.alt({b_.seq({digit(lo[0], lo[0]), beyond(lo.substr(1), true)}),
                   b_.seq({digit(middle, middle_end), any(lo.size() - 1)}),
                   b_.seq({digit(hi[0], hi[0]), beyond(hi.substr(1), false)})});
  }

  /// Digits of this length that are at least (or at most) the limit.
  ExprId beyond(const std::string& limit, bool at_least) {
    if (limit.empty()) return b_.empty();
    const ExprId free =
        at_least ? digit(static_cast<char>(limit[0] + 1), '9') : digit('0', static_cast<char>(limit[0] - 1));
    return b_.alt({b_.seq({digit(limit[0], limit[0]), beyond(limit.substr(1), at_least)}),
                   b_.seq({free, any(limit.size() - 1)})});
  }

  GrammarBuilder& b_;
};

/// The digits after the point of a number whose whole part equals that of its lower bound, of its upper
/// bound, of both or of none: an automaton over (place, still equal to lo, still equal to hi).
class FractionAutomaton {
 public:
  FractionAutomaton(const DecimalBound* lo, const DecimalBound* hi, std::int32_t most_digits)
      : lo_(lo), hi_(hi), most_(most_digits) {}

  Automaton make() {
    out_.set_start(out_.add_state(is_within(0, lo_ != nullptr, hi_ != nullptr)));
    if (most_ > 0) out_.add_edge(out_.start(), '.', '.', state(0, lo_ != nullptr, hi_ != nullptr));
    return prune(out_);
  }

 private:
  static char digit_at(const std::string& digits, std::int32_t place) {
    return static_cast<std::size_t>(place) < digits.size() ? digits[static_cast<std::size_t>(place)] : '0';
  }
  static bool ends_before(const DecimalBound& bound, std::int32_t place) {
    return bound.value.fraction.size() <= static_cast<std::size_t>(place);
  }

  bool is_within(std::int32_t place, bool on_lo, bool on_hi) const {
    if (on_lo && (!ends_before(*lo_, place) || lo_->exclusive)) return false;
    return !(on_hi && ends_before(*hi_, place) && hi_->exclusive);
  }

  std::int32_t state(std::int32_t place, bool on_lo, bool on_hi) {
    std::int32_t& known = states_[static_cast<std::size_t>(place)][on_lo ? 1 : 0][on_hi ? 1 : 0];
    if (known >= 0) return known;
    const std::int32_t s = known = out_.add_state(place > 0 && is_within(place, on_lo, on_hi));
    for (char d = '0'; d <= '9' && place < most_; ++d) {
      const char at_lo = on_lo ? digit_at(lo_->value.fraction, place) : '0';
      const char at_hi = on_hi ? digit_at(hi_->value.fraction, place) : '9';
      if (d < at_lo || d > at_hi) continue;
      const auto symbol = static_cast<Symbol>(static_cast<unsigned char>(d));
      out_.add_edge(s, symbol, symbol, state(place + 1, on_lo && d == at_lo, on_hi && d == at_hi));
    }
    return s;
  }

  struct Known {
    std::int32_t id[2][2] = {{-1, -1}, {-1, -1}};
    std::int32_t* operator[](int on_lo) { return id[on_lo]; }
  };
  const DecimalBound* lo_;
  const DecimalBound* hi_;
  const std::int32_t most_;
  std::vector<Known> states_{static_cast<std::size_t>(kDigits) + 2};
  Automaton out_;
};

/// Numbers of one sign, by size. REQUIRES: the bounds are not negative; lo is given.
ExprId size_between(GrammarBuilder& b, const DecimalBound& lo, const std::optional<DecimalBound>& hi) {
  constexpr std::int64_t kMostWhole = 999'999'999'999'999;
  const std::int64_t from = floor_of(lo.value);
  const std::int64_t to = hi ? std::min(floor_of(hi->value), kMostWhole) : kMostWhole;
  if (from > to) return b.never();
  const std::size_t digits = std::max(lo.value.whole.size(), hi ? hi->value.whole.size() : 1);
  const std::int32_t places =
      std::max(1, kDigits - static_cast<std::int32_t>(std::min<std::size_t>(digits, kDigits)));
  const auto fraction = [&](const DecimalBound* least, const DecimalBound* most) {
    return b.automaton(std::make_shared<const Automaton>(FractionAutomaton(least, most, places).make()),
                       false);
  };
  const bool hi_is_last = hi && floor_of(hi->value) == to;
  const DecimalBound* most = hi_is_last ? &*hi : nullptr;
  if (from == to) return b.seq({b.bytes(std::to_string(from)), fraction(&lo, most)});
  std::vector<ExprId> choices{b.seq({b.bytes(std::to_string(from)), fraction(&lo, nullptr)}),
                              b.seq({b.bytes(std::to_string(to)), fraction(nullptr, most)})};
  choices.push_back(b.seq({DigitRanges(b).between(from + 1, to - 1), fraction(nullptr, nullptr)}));
  return b.alt(std::move(choices));
}

/// The digits of multiples of n, most significant first: the states are remainders.
Automaton multiples(std::int64_t n) {
  Automaton out;
  for (std::int64_t r = 0; r < n; ++r) out.add_state(r == 0);
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t d = 0; d <= 9; ++d) {
      const auto symbol = static_cast<Symbol>('0' + d);
      out.add_edge(static_cast<std::int32_t>(r), symbol, symbol, static_cast<std::int32_t>((10 * r + d) % n));
    }
  }
  const std::int32_t start = out.add_state();
  out.add_edge(start, '-', '-', 0);
  for (std::int64_t d = 0; d <= 9; ++d) {
    const auto symbol = static_cast<Symbol>('0' + d);
    out.add_edge(start, symbol, symbol, static_cast<std::int32_t>(d % n));
  }
  out.set_start(start);
  return out;
}

base::Status read_multiple(const SchemaPart& part, bool only_integers, NumberLimits& limits) {
  constexpr std::int64_t kMost = 10'000;
  const OrderedJson* value = find_keyword(part, "multipleOf");
  if (value == nullptr) return base::Ok{};
  const double step = value->is_number() ? value->get<double>() : 0;
  if (!(step > 0))
    return schema_error(Code::kInvalidArgument, part, "multipleOf", "must be a number above 0");
  if (!only_integers || type_of(*value) != kIntegerBit || step > static_cast<double>(kMost)) {
    return schema_error(
        Code::kUnsupported, part, "multipleOf",
        "'multipleOf' is enforced for type integer and whole steps up to 10000 only: remove it");
  }
  std::int64_t a = limits.multiple_of, b = static_cast<std::int64_t>(step);
  const std::int64_t product = a * b;
  while (b != 0) a = std::exchange(b, a % b);
  limits.multiple_of = product / a;
  if (limits.multiple_of > kMost) {
    return schema_error(Code::kUnsupported, part, "multipleOf",
                        "the common multiple is above 10000: use smaller steps");
  }
  return base::Ok{};
}

}  // namespace

Result<NumberLimits> number_limits(const Goal& parts, bool only_integers) {
  NumberLimits limits;
  for (const SchemaPart& part : parts) {
    for (const std::string_view keyword : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
      const OrderedJson* value = find_keyword(part, keyword);
      if (value == nullptr) continue;
      if (!value->is_number()) {
        return schema_error(Code::kUnsupported, part, keyword,
                            "must be a number (the boolean form of draft 4 is not supported)");
      }
      std::optional<Decimal> decimal = to_decimal(*value);
      if (!decimal)
        return schema_error(Code::kUnsupported, part, keyword, "the bound is too large or too small");
      const DecimalBound bound{std::move(*decimal), keyword[0] == 'e'};
      if (keyword.ends_with("inimum"))
        tighten(limits.lo, bound, 1);
      else
        tighten(limits.hi, bound, -1);
    }
    TW_RETURN_IF_ERROR(read_multiple(part, only_integers, limits));
  }
  return limits;
}

Result<ExprId> integer_between(GrammarBuilder& b, const NumberLimits& limits) {
  std::int64_t lo = -kMostInteger, hi = kMostInteger;
  if (limits.lo) {
    const std::int64_t floor = floor_of(limits.lo->value);
    const bool steps_up = !limits.lo->value.fraction.empty() || limits.lo->exclusive;
    lo = std::max(lo, steps_up ? floor + 1 : floor);
    if (limits.lo->value.whole.size() > 18 && !limits.lo->value.negative) return b.never();
  }
  if (limits.hi) {
    const std::int64_t floor = floor_of(limits.hi->value);
    const bool steps_down = limits.hi->value.fraction.empty() && limits.hi->exclusive;
    hi = std::min(hi, steps_down ? floor - 1 : floor);
    if (limits.hi->value.whole.size() > 18 && limits.hi->value.negative) return b.never();
    if (limits.hi->value.whole.size() > 18) hi = kMostInteger;
  }
  std::vector<ExprId> choices;
  DigitRanges ranges(b);
  if (hi >= 0) choices.push_back(ranges.between(std::max<std::int64_t>(lo, 0), hi));
  if (lo < 0) choices.push_back(b.seq({b.bytes("-"), ranges.between(std::max<std::int64_t>(-hi, 1), -lo)}));
  if (limits.multiple_of == 1) return b.alt(std::move(choices));
  // Automata are over code points, and digits are both; only the sign has to be written anew.
  for (ExprId& choice : choices) {
    const bool negative = &choice != choices.data() || hi < 0;
    const ExprId minus = b.chars(CharSet({{'-', '-'}}));
    const ExprId range =
        negative ? b.seq({minus, ranges.between(std::max<std::int64_t>(-hi, 1), -lo)}) : choice;
    TW_ASSIGN_OR_RETURN(const Automaton dfa, b.code_point_automaton(range));
    TW_ASSIGN_OR_RETURN(Automaton both, b.intersected(dfa, multiples(limits.multiple_of)));
    choice = b.automaton(std::make_shared<const Automaton>(std::move(both)), false);
  }
  return b.alt(std::move(choices));
}

ExprId number_between(GrammarBuilder& b, const NumberLimits& limits) {
  const DecimalBound zero{}, above_zero{{}, true};
  std::vector<ExprId> choices;
  if (!limits.hi || !limits.hi->value.negative) {
    const bool from_zero = !limits.lo || limits.lo->value.negative;
    choices.push_back(size_between(b, from_zero ? zero : *limits.lo, limits.hi));
  }
  if (!limits.lo || limits.lo->value.negative) {
    const auto mirrored = [](DecimalBound bound) {
      bound.value.negative = false;
      return bound;
    };
    const bool to_zero = !limits.hi || !limits.hi->value.negative;
    std::optional<DecimalBound> most;
    if (limits.lo) most = mirrored(*limits.lo);
    choices.push_back(
        b.seq({b.bytes("-"), size_between(b, to_zero ? above_zero : mirrored(*limits.hi), most)}));
  }
  return b.alt(std::move(choices));
}

bool within(const NumberLimits& limits, const OrderedJson& value) {
  const std::optional<Decimal> decimal = to_decimal(value);
  if (!decimal) return !limits.bounded();
  const auto is_on_side = [&](const std::optional<DecimalBound>& bound, int sign) {
    if (!bound) return true;
    const int order = compare(*decimal, bound->value) * sign;
    return order > 0 || (order == 0 && !bound->exclusive);
  };
  if (!is_on_side(limits.lo, 1) || !is_on_side(limits.hi, -1)) return false;
  return limits.multiple_of == 1 || value.get<std::int64_t>() % limits.multiple_of == 0;
}

}  // namespace tw::text
