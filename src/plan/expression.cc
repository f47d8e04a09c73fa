#include "plan/expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <vector>

namespace tw::plan {
namespace {

constexpr int kMaxDepth = 128;  ///< a parenthesis takes two: its sum and the power it stands in

/// Recursive descent: sum, product, power, atom. The first error ends it.
class Parser {
 public:
  Parser(std::string_view text, const NameValue& names) : text_(text), names_(names) {}

  base::Result<double> run() {
    const double value = sum();
    skip_blanks();
    if (problem_.empty() && at_ < text_.size()) fail("something is left over");
    if (problem_.empty() && !std::isfinite(value)) fail("it is no finite number");
    if (problem_.empty()) return value;
    return base::error(base::Code::kInvalidArgument, "\"{}\": {}", text_, problem_);
  }

 private:
  void fail(std::string why) {
    if (problem_.empty()) problem_ = std::move(why);
    at_ = text_.size();
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
  double sum() {
    if (++depth_ > kMaxDepth) return fail("it is nested too deeply"), 0;
    double value = product();
    for (;;) {
      if (take('+'))
        value += product();
      else if (take('-'))
        value -= product();
      else
        break;
    }
    --depth_;
    return value;
  }
  double product() {
    double value = power();
    for (;;) {
      if (take('*'))
        value *= power();
      else if (take('/'))
        value /= power();
      else
        return value;
    }
  }
  double power() {
    // A sign and an exponent recurse without a sum: what is here counts too.
    if (++depth_ > kMaxDepth) return fail("it is nested too deeply"), 0;
    double value = 0;
    if (take('-')) {
      value = -power();
    } else {
      value = atom();
      if (take('^')) value = std::pow(value, power());
    }
    --depth_;
    return value;
  }
  double atom() {
    skip_blanks();
    if (take('(')) {
      const double value = sum();
      if (!take(')')) fail("a parenthesis is not closed");
      return value;
    }
    if (at_ < text_.size() &&
        (std::isdigit(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '.'))
      return number();
    return name();
  }
  double number() {
    double value = 0;
    const auto [end, wrong] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (wrong != std::errc()) return fail("a number is broken"), 0;
    at_ = end - text_.data();
    return value;
  }
  double name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == '_' || text_[at_] == '.' || text_[at_] == ':'))
      ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    if (word.empty()) return fail("a number or a name is missing"), 0;
    if (take('(')) return function(word);
    const auto value = names_(word, {});
    if (!value.ok()) return fail(value.error().message), 0;
    return *value;
  }
  double function(const std::string& word) {
    std::vector<double> arguments = {sum()};
    while (take(',')) arguments.push_back(sum());
    if (!take(')')) return fail("a parenthesis is not closed"), 0;
    if (word == "min") return *std::min_element(arguments.begin(), arguments.end());
    if (word == "max") return *std::max_element(arguments.begin(), arguments.end());
    if (word == "sqrt") return std::sqrt(arguments[0]);
    if (word == "ceil") return std::ceil(arguments[0]);
    if (word == "floor") return std::floor(arguments[0]);
    if (word == "abs") return std::fabs(arguments[0]);
    const auto value = names_(word, arguments);
    if (!value.ok()) return fail(value.error().message), 0;
    return *value;
  }

  std::string_view text_;
  const NameValue& names_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::string problem_;
};

}  // namespace

base::Result<double> evaluate(std::string_view text, const NameValue& names) {
  return Parser(text, names).run();
}

}  // namespace tw::plan
