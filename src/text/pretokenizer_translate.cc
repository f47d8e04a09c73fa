// From Oniguruma's dialect to PCRE2's: what both write alike passes; what would change its meaning is
// rewritten or refused.
#include "base/utf8.h"
#include "text/pretokenizer_regex.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

/// Unicode's White_Space (PCRE2's own \s adds U+180E) and Oniguruma's word characters (which take Latin-1's
/// fractions and raised digits in), without brackets.
constexpr std::string_view kSpace = "\\x09-\\x0d\\x{85}\\p{Z}";
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
/// Escapes of letters that mean the same in both.
constexpr std::string_view kSameEscapes = "pPdDrntfabBAzZx";
/// What may follow "(?".
constexpr std::string_view kGroups[] = {":", "=", "!", "<=", "<!", ">", "i:", "i)", "-i:", "m:", "s:"};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  base::Result<std::string> run() {
    if (!base::is_valid_utf8(in_)) return unsupported("invalid UTF-8");
    while (pos_ < in_.size()) {
      const base::Status status = in_class_ ? in_class() : outside();
      if (!status.ok()) return status.error();
    }
    return std::move(out_);
  }

 private:
  base::Error unsupported(std::string_view what) const {
    return error(Code::kUnsupported, "the pattern \"{}\" uses {} at byte {}, which is not supported here",
                 base::sanitize_utf8(in_), what, pos_);
  }
  bool at(std::string_view text) const { return in_.substr(pos_).starts_with(text); }
  void copy(std::size_t count) {
    out_ += in_.substr(pos_, count);
    pos_ += count;
  }
  void replace(std::size_t count, std::string_view by) {
    out_ += by;
    pos_ += count;
  }

  base::Status outside() {
    if (at("\\")) return escape();
    if (at("(*")) return unsupported("a \"(*\" verb");
    if (at("(?")) return group();
    if (at("{,")) return replace(2, "{0,"), base::Ok{};
    if (at("[^]") || at("[]")) return unsupported("an empty class");
    if (at("[")) {
      in_class_ = true;
      class_start_ = out_.size();
      copy(at("[^") ? 2 : 1);
      return base::Ok{};
    }
    copy(1);
    return base::Ok{};
  }

  base::Status group() {
    pos_ += 2;
    for (const std::string_view kind : kGroups) {
      if (!at(kind)) continue;
      if (kind == "m:" || kind == "s:") return unsupported("a mode whose letter means different things");
      out_ += "(?";
      copy(kind.size());
      return base::Ok{};
    }
    return unsupported("an unusual \"(?\" group");
  }

  base::Status in_class() {
    if (at("\\")) return escape();
    if (at("&&")) return intersection();
    if (at("[")) return unsupported("a class inside a class");
    if (at("]")) return end_class();
    copy(1);
    return base::Ok{};
  }

  /// "[A&&[^B]]" is a character of A that is none of B: "(?:(?![B])[A])".
  base::Status intersection() {
    if (!at("&&[^") || excluded_start_ != std::string::npos) return unsupported("a class intersection");
    excluded_start_ = out_.size();
    pos_ += 4;
    return base::Ok{};
  }

  base::Status end_class() {
    if (excluded_start_ == std::string::npos) {
      copy(1);
    } else {
      if (!at("]]")) return unsupported("a class intersection");
      const std::string excluded = out_.substr(excluded_start_);
      const std::string wanted = out_.substr(class_start_, excluded_start_ - class_start_);
      out_.resize(class_start_);
      out_ += "(?:(?![" + excluded + "])" + wanted + "])";
      excluded_start_ = std::string::npos;
      pos_ += 2;
    }
    in_class_ = false;
    return base::Ok{};
  }

  base::Status escape() {
    if (pos_ + 1 >= in_.size()) return unsupported("a lone backslash");
    const char c = in_[pos_ + 1];
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!is_letter || kSameEscapes.find(c) != std::string_view::npos) return copy(2), base::Ok{};
    switch (c) {
      case 's':
        return replace(2, wrap("[", kSpace)), base::Ok{};
      case 'w':
        return replace(2, wrap("[", kWord)), base::Ok{};
      case 'S':
        return in_class_ ? unsupported("\\S in a class")
                         : base::Status((replace(2, wrap("[^", kSpace)), base::Ok{}));
      case 'W':
        return in_class_ ? unsupported("\\W in a class")
                         : base::Status((replace(2, wrap("[^", kWord)), base::Ok{}));
      case 'v':
        return replace(2, "\\x0b"), base::Ok{};
      case 'u':
        return unicode_escape();
      default:
        return unsupported(std::string("the escape \\") + c);
    }
  }

  base::Status unicode_escape() {
    const std::string_view digits = in_.substr(pos_ + 2, 4);
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      return unsupported("a \\u escape without four digits");
    }
    replace(6, "\\x{" + std::string(digits) + "}");
    return base::Ok{};
  }

  std::string wrap(std::string_view open, std::string_view items) const {
    return in_class_ ? std::string(items) : std::string(open) + std::string(items) + "]";
  }

  std::string_view in_;
  std::size_t pos_ = 0;
  bool in_class_ = false;
  std::size_t class_start_ = 0;                     ///< in out_
  std::size_t excluded_start_ = std::string::npos;  ///< in out_: where B begins
  std::string out_;
};

}  // namespace

base::Result<std::string> translate_regex(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace tw::text
