#include "plan/expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

namespace tw::plan {
namespace {

constexpr int kMaxDepth = 128;  ///< a parenthesis takes two: its sum and the power it stands in

/// Recursive descent: sum, product, power, atom. The first error ends it.
class Parser {
 public:
  Parser(std::string_view text, const NameValue& names) : text_(text), names_(names) {}

  base::Result<Ranged> run() {
    const Ranged value = sum();
    skip_blanks();
    if (problem_.empty() && at_ < text_.size()) fail("something is left over");
    if (problem_.empty() &&
        !(std::isfinite(value.value) && std::isfinite(value.low) && std::isfinite(value.high)))
      fail("it is no finite number");
    if (problem_.empty()) return value;
    return base::error(base::Code::kInvalidArgument, "\"{}\": {}", text_, problem_);
  }

 private:
  /// The first problem is the one that is told; what is left is not read.
  Ranged fail(std::string why) {
    if (problem_.empty()) problem_ = std::move(why);
    at_ = text_.size();
    return {};
  }
  void skip_blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Ranged sum() {
    if (++depth_ > kMaxDepth) return fail("it is nested too deeply");
    Ranged value = product();
    for (;;) {
      if (take('+'))
        value = of(value, product(), std::plus<>());
      else if (take('-'))
        value = of(value, product(), std::minus<>());
      else
        break;
    }
    --depth_;
    return value;
  }
  Ranged product() {
    Ranged value = power();
    for (;;) {
      if (take('*'))
        value = of(value, power(), std::multiplies<>());
      else if (take('/'))
        value = quotient(value, power());
      else
        return value;
    }
  }
  Ranged power() {
    // A sign and an exponent recurse without a sum: what is here counts too.
    if (++depth_ > kMaxDepth) return fail("it is nested too deeply");
    Ranged value;
    if (take('-')) {
      const Ranged a = power();
      value = {-a.value, -a.high, -a.low, a.provenance};
    } else {
      value = atom();
      if (take('^')) value = raised(value, power());
    }
    --depth_;
    return value;
  }
  Ranged atom() {
    skip_blanks();
    if (take('(')) {
      const Ranged value = sum();
      if (!take(')')) return fail("a parenthesis is not closed");
      return value;
    }
    if (at_ < text_.size() &&
        (std::isdigit(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '.'))
      return number();
    return name();
  }
  Ranged number() {
    double value = 0;
    const auto [end, wrong] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (wrong != std::errc()) return fail("a number is broken");
    at_ = end - text_.data();
    return Ranged::point(value);
  }
  Ranged name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == '_' || text_[at_] == '.' || text_[at_] == ':'))
      ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    if (word.empty()) return fail("a number or a name is missing");
    if (take('(')) return function(word);
    const auto value = names_(word, {});
    if (!value.ok()) return fail(value.error().message);
    return *value;
  }
  Ranged function(const std::string& word) {
    std::vector<Ranged> arguments = {sum()};
    while (take(',')) arguments.push_back(sum());
    if (!take(')')) return fail("a parenthesis is not closed");
    const Ranged& first = arguments[0];
    // What only grows takes the ends to the ends.
    const auto grows = [&](auto&& f) {
      return Ranged{f(first.value), f(first.low), f(first.high), first.provenance};
    };
    const auto best = [&](auto&& f) {
      Ranged value = first;
      for (const Ranged& next : std::span(arguments).subspan(1))
        value = {f(value.value, next.value), f(value.low, next.low), f(value.high, next.high),
                 less_sure(value, next)};
      return value;
    };
    const bool of_one = word == "sqrt" || word == "ceil" || word == "floor" || word == "abs";
    if (of_one && arguments.size() != 1)
      return fail(fmt::format("{} takes one number, not {}", word, arguments.size()));
    if (word == "min") return best([](double a, double b) { return std::min(a, b); });
    if (word == "max") return best([](double a, double b) { return std::max(a, b); });
    if (word == "sqrt") return grows([](double a) { return std::sqrt(a); });
    if (word == "ceil") return grows([](double a) { return std::ceil(a); });
    if (word == "floor") return grows([](double a) { return std::floor(a); });
    if (word == "abs") {
      const double low = std::fabs(first.low), high = std::fabs(first.high);
      return {std::fabs(first.value), holds_zero(first) ? 0 : std::min(low, high), std::max(low, high),
              first.provenance};
    }
    const auto value = names_(word, arguments);
    if (!value.ok()) return fail(value.error().message);
    return *value;
  }

  static bool holds_zero(const Ranged& a) { return a.low <= 0 && a.high >= 0; }
  static std::optional<Provenance> less_sure(const Ranged& a, const Ranged& b) {
    if (!a.provenance || !b.provenance) return a.provenance ? a.provenance : b.provenance;
    return weaker(*a.provenance, *b.provenance);
  }
  /// Of an operation that goes one way in each of both: its extremes are at the ends.
  template <typename Operation>
  static Ranged of(const Ranged& a, const Ranged& b, Operation&& operation) {
    Ranged made = Ranged::point(operation(a.value, b.value));
    for (const double x : {a.low, a.high}) {
      for (const double y : {b.low, b.high}) {
        const double end = operation(x, y);
        if (std::isnan(end)) made.value = end;  // a root of a negative number: run() refuses it
        made.low = std::min(made.low, end);
        made.high = std::max(made.high, end);
      }
    }
    made.provenance = less_sure(a, b);
    return made;
  }
  Ranged quotient(const Ranged& a, const Ranged& b) {
    if (holds_zero(b) && b.value != 0) return fail("it divides by what may be 0");
    return of(a, b, std::divides<>());
  }
  static Ranged raised(const Ranged& a, const Ranged& b) {
    const auto power = [](double x, double y) { return std::pow(x, y); };
    Ranged made = of(a, b, power);
    if (!holds_zero(a)) return made;
    // An even power turns at 0.
    const Ranged bottom = of({0, 0, 0, a.provenance}, b, power);
    return {made.value, std::min(made.low, bottom.low), std::max(made.high, bottom.high), made.provenance};
  }

  std::string_view text_;
  const NameValue& names_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::string problem_;
};

}  // namespace

base::Result<Ranged> evaluate(std::string_view text, const NameValue& names) {
  return Parser(text, names).run();
}

}  // namespace tw::plan
