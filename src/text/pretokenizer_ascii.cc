#include "text/pretokenizer_ascii.h"

#include <array>
#include <cstdint>

#include "text/pretokenizer_table.h"

namespace tw::text {
namespace {

enum Class : std::uint8_t { kOther, kLetter, kDigit, kSpace, kNewline, kBeyond };

constexpr std::array<Class, 256> make_classes() {
  std::array<Class, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c >= 0x80)
      classes[c] = kBeyond;
    else if (letter)
      classes[c] = kLetter;
    else if (c >= '0' && c <= '9')
      classes[c] = kDigit;
    else if (c == '\n' || c == '\r')
      classes[c] = kNewline;
    else if (c == ' ' || (c >= '\t' && c <= '\r'))
      classes[c] = kSpace;
  }
  return classes;
}

constexpr std::array<Class, 256> kClasses = make_classes();
/// What next_*() return when only the regular expression can tell.
constexpr std::size_t kUnknown = 0;

class AsciiScanner {
 public:
  explicit AsciiScanner(std::string_view text) : text_(text) {}

  /// The end of GPT-2's match at p.
  template <bool kDigitsApart>
  std::size_t next_gpt2(std::size_t p) const {
    if (text_[p] == '\'') {
      if (const std::size_t end = contraction(p, false)) return end;
    }
    const std::size_t q = p + (text_[p] == ' ' && p + 1 < text_.size());
    switch (at(q)) {
      case kLetter:
        return known(run(q, kLetter));
      case kDigit:
        if (!kDigitsApart) return known(run(q, kDigit));
        return q > p ? q : q + 1;
      case kOther:
        return known(run(q, kOther));
      case kBeyond:
        return kUnknown;
      default:
        break;
    }
    const std::size_t end = space_run(p);
    if (end == text_.size() || (kDigitsApart && at(end) == kDigit)) return end;
    if (at(end) == kBeyond) return kUnknown;
    return end - p > 1 ? end - 1 : end;
  }

  /// The end of the match at p of the pattern that GPT-4 brought, with this many digits in a group.
  template <int kMaxDigits>
  std::size_t next_cl100k(std::size_t p) const {
    const Class c = at(p);
    if (c == kBeyond) return kUnknown;
    if (c == kLetter) return known(run(p, kLetter));
    if (c == kDigit) return digits(p, kMaxDigits);
    const Class after = p + 1 < text_.size() ? at(p + 1) : kNewline;
    if (after == kBeyond) return kUnknown;
    if (text_[p] == '\'') {
      if (const std::size_t end = contraction(p, true)) return end;
      if (p + 2 < text_.size() && at(p + 2) == kBeyond) return kUnknown;  // such as 'ſ folded to s
    }
    if (c != kNewline && after == kLetter) return known(run(p + 1, kLetter));
    if (c == kOther || (text_[p] == ' ' && after == kOther)) return punctuation(c == kOther ? p : p + 1);
    return white_space(p);
  }

 private:
  Class at(std::size_t p) const { return kClasses[static_cast<unsigned char>(text_[p])]; }
  std::size_t run(std::size_t p, Class c) const {
    while (p < text_.size() && at(p) == c) ++p;
    return p;
  }
  std::size_t space_run(std::size_t p) const {
    while (p < text_.size() && (at(p) == kSpace || at(p) == kNewline)) ++p;
    return p;
  }
  std::size_t known(std::size_t end) const {
    return end < text_.size() && at(end) == kBeyond ? kUnknown : end;
  }

  /// The end of 's 't 'm 'd 're 've 'll at p, or 0.
  std::size_t contraction(std::size_t p, bool any_case) const {
    const auto letter = [&](std::size_t i) {
      if (i >= text_.size()) return '\0';
      return any_case && at(i) == kLetter ? static_cast<char>(text_[i] | 0x20) : text_[i];
    };
    const char a = letter(p + 1);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    const char b = letter(p + 2);
    const bool two = ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l');
    return two ? p + 3 : 0;
  }

  std::size_t digits(std::size_t p, std::size_t most) const {
    std::size_t end = p;
    while (end < text_.size() && end - p < most && at(end) == kDigit) ++end;
    return end - p < most ? known(end) : end;
  }

  std::size_t punctuation(std::size_t p) const {
    const std::size_t end = known(run(p, kOther));
    return end == kUnknown ? kUnknown : run(end, kNewline);
  }

  std::size_t white_space(std::size_t p) const {
    const std::size_t end = space_run(p);
    if (end < text_.size() && at(end) == kBeyond) return kUnknown;
    for (std::size_t last = end; last > p; --last) {
      if (at(last - 1) == kNewline) return last;
    }
    return end == text_.size() || end - p == 1 ? end : end - 1;
  }

  std::string_view text_;
};

template <typename Next>
std::size_t scan(std::size_t size, std::size_t pos, std::vector<Span>& pieces, Next next) {
  while (pos < size) {
    const std::size_t end = next(pos);
    if (end == kUnknown) break;
    pieces.push_back({pos, end});
    pos = end;
  }
  return pos;
}

bool is_isolated(const PreTokenizerStep& step) {
  return step.behavior == PreTokenizerStep::Behavior::kIsolated && !step.invert && !step.is_literal;
}

bool is_gpt2(std::string_view pattern) {
  return pattern == kGpt2Pattern || pattern == kGpt2ShortPattern;
}

}  // namespace

Scanner scanner_for(const std::vector<PreTokenizerStep>& steps) {
  for (const PreTokenizerStep& step : steps) {
    if (!is_isolated(step)) return Scanner::kNone;
  }
  if (steps.size() == 1) {
    if (is_gpt2(steps[0].pattern)) return Scanner::kGpt2;
    if (steps[0].pattern == kCl100k1Pattern) return Scanner::kCl100k1;
    if (steps[0].pattern == kCl100k3Pattern) return Scanner::kCl100k3;
  }
  if (steps.size() == 2 && steps[0].pattern == kDigitPattern && is_gpt2(steps[1].pattern))
    return Scanner::kGpt2Digits;
  return Scanner::kNone;
}

std::size_t scan_ascii(Scanner scanner, std::string_view text, std::size_t pos, std::vector<Span>& pieces) {
  const AsciiScanner s(text);
  const auto go = [&](auto next) { return scan(text.size(), pos, pieces, next); };
  switch (scanner) {
    case Scanner::kGpt2:
      return go([&](std::size_t p) { return s.next_gpt2<false>(p); });
    case Scanner::kGpt2Digits:
      return go([&](std::size_t p) { return s.next_gpt2<true>(p); });
    case Scanner::kCl100k1:
      return go([&](std::size_t p) { return s.next_cl100k<1>(p); });
    case Scanner::kCl100k3:
      return go([&](std::size_t p) { return s.next_cl100k<3>(p); });
    case Scanner::kNone:
      break;
  }
  return pos;
}

std::size_t next_safe_boundary(std::string_view text, std::size_t pos) {
  const auto is_letter = [&](std::size_t p) {
    return kClasses[static_cast<unsigned char>(text[p])] == kLetter;
  };
  for (std::size_t p = pos + 1; p + 1 < text.size(); ++p) {
    if (text[p] == ' ' && is_letter(p - 1) && is_letter(p + 1)) return p;
  }
  return text.size();
}

}  // namespace tw::text
