#include "text/regex_grammar.h"

#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;
using base::Result;

constexpr int kMaxGroups = 100;
constexpr std::int32_t kMaxCount = 20'000;

CharSet digits() {
  return CharSet({{'0', '9'}});
}
CharSet word_chars() {
  return CharSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}
CharSet white_space() {
  return CharSet({{0x09, 0x0D},
                  {0x20, 0x20},
                  {0xA0, 0xA0},
                  {0x1680, 0x1680},
                  {0x2000, 0x200A},
                  {0x2028, 0x2029},
                  {0x202F, 0x202F},
                  {0x205F, 0x205F},
                  {0x3000, 0x3000},
                  {0xFEFF, 0xFEFF}});
}
CharSet dot() {
  return CharSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).complement();
}

class RegexParser {
 public:
  RegexParser(GrammarBuilder& builder, std::string_view pattern) : builder_(builder), pattern_(pattern) {}

  Result<ExprId> parse() {
    if (!base::is_valid_utf8(pattern_)) return fail("the pattern is not UTF-8 text");
    TW_ASSIGN_OR_RETURN(const ExprId expr, parse_alternatives(0));
    if (!at_end()) return fail("')' without '('");
    return expr;
  }

 private:
  bool at_end() const { return pos_ >= pattern_.size(); }
  char peek(std::size_t ahead = 0) const {
    return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0';
  }
  bool starts_with(std::string_view text) const { return pattern_.substr(pos_, text.size()) == text; }
  bool take(char c) {
    if (at_end() || peek() != c) return false;
    ++pos_;
    return true;
  }

  base::Error fail(std::string message, Code code = Code::kInvalidArgument) const {
    return {code, std::move(message), fmt::format("pattern offset {}", pos_)};
  }
  base::Error unsupported(std::string_view what) const {
    return fail(fmt::format("{} cannot be enforced: rewrite the pattern without it", what),
                Code::kUnsupported);
  }

  Result<ExprId> parse_alternatives(int depth) {
    if (depth > kMaxGroups) return fail("groups are nested too deeply", Code::kResourceExhausted);
    std::vector<ExprId> choices;
    do {
      std::vector<ExprId> parts;
      while (!at_end() && peek() != '|' && peek() != ')' && builder_.ok()) {
        TW_ASSIGN_OR_RETURN(const ExprId part, parse_term(depth));
        parts.push_back(part);
      }
      choices.push_back(builder_.seq(std::move(parts)));
    } while (take('|'));
    return builder_.alt(std::move(choices));
  }

  Result<ExprId> parse_term(int depth) {
    if (take('^')) return no_quantifier(builder_.guard(Guard::kAtStart));
    if (take('$')) return no_quantifier(builder_.guard(Guard::kAtEnd));
    TW_ASSIGN_OR_RETURN(ExprId item, parse_item(depth));
    return parse_quantifier(item);
  }

  Result<ExprId> no_quantifier(ExprId anchor) const {
    if (std::string_view("*+?{").find(peek()) != std::string_view::npos && !at_end()) {
      return fail("an anchor cannot be repeated");
    }
    return anchor;
  }

  Result<ExprId> parse_item(int depth) {
    const char c = peek();
    switch (c) {
      case '(':
        return parse_group(depth);
      case '[':
        return parse_class();
      case '.':
        ++pos_;
        return builder_.chars(dot());
      case '\\':
        return parse_escape_item();
      case '*':
      case '+':
      case '?':
        return fail("there is nothing to repeat here");
      case '{':
        return fail("'{' must be written as '\\{' here");
      default: {
        const char32_t code_point = base::decode_utf8(pattern_, pos_);
        return builder_.chars(CharSet({{code_point, code_point}}));
      }
    }
  }

  Result<ExprId> parse_group(int depth) {
    for (const std::string_view look : {"(?=", "(?!", "(?<=", "(?<!"}) {
      if (starts_with(look)) return unsupported(fmt::format("look-around '{}...)'", look));
    }
    if (starts_with("(?:")) {
      pos_ += 3;
    } else if (starts_with("(?<") || starts_with("(?P<")) {
      const std::size_t close = pattern_.find('>', pos_);
      if (close == pattern_.npos) return fail("the group's name has no closing '>'");
      pos_ = close + 1;
    } else if (starts_with("(?")) {
      return unsupported(fmt::format("the group '{}...)'", pattern_.substr(pos_, 3)));
    } else {
      ++pos_;
    }
    TW_ASSIGN_OR_RETURN(const ExprId group, parse_alternatives(depth + 1));
    if (!take(')')) return fail("')' is expected here");
    return group;
  }

  Result<ExprId> parse_quantifier(ExprId item) {
    std::int32_t min = 1, max = 1;
    if (take('*'))
      min = 0, max = -1;
    else if (take('+'))
      max = -1;
    else if (take('?'))
      min = 0;
    else if (peek() == '{') {
      ++pos_;
      TW_ASSIGN_OR_RETURN(min, parse_count());
      max = min;
      if (take(',')) {
        max = -1;
        if (peek() != '}') {
          TW_ASSIGN_OR_RETURN(max, parse_count());
        }
      }
      if (!take('}')) return fail("'}' is expected here");
      if (max >= 0 && max < min) return fail("the repetition's upper bound is below its lower bound");
    } else {
      return item;
    }
    if (peek() == '+') return unsupported("a possessive quantifier");
    take('?');  // lazy: the same texts match
    if (!at_end() && std::string_view("*+?{").find(peek()) != std::string_view::npos) {
      return fail("there is nothing to repeat here");
    }
    return builder_.repeat(item, min, max);
  }

  Result<std::int32_t> parse_count() {
    const std::size_t begin = pos_;
    std::int32_t count = 0;
    for (; peek() >= '0' && peek() <= '9'; ++pos_) {
      count = count * 10 + (peek() - '0');
      if (count > kMaxCount) {
        return fail(fmt::format("repetitions above {} are not possible", kMaxCount),
                    Code::kResourceExhausted);
      }
    }
    if (pos_ == begin) return fail("a number is expected here ('{' itself is written as '\\{')");
    return count;
  }

  Result<ExprId> parse_escape_item() {
    const char c = peek(1);
    if (c == 'b' || c == 'B') return unsupported(fmt::format("the word boundary '\\{}'", c));
    if (c >= '1' && c <= '9') return unsupported(fmt::format("the back-reference '\\{}'", c));
    if (c == 'k') return unsupported("the back-reference '\\k'");
    ++pos_;
    TW_ASSIGN_OR_RETURN(CharSet set, parse_escape());
    return builder_.chars(std::move(set));
  }

  /// What follows a backslash, as a set.
  Result<CharSet> parse_escape() {
    if (at_end()) return fail("the pattern ends in a backslash");
    const char c = peek();
    ++pos_;
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return word_chars();
      case 'W':
        return word_chars().complement();
      case 's':
        return white_space();
      case 'S':
        return white_space().complement();
      case 'p':
      case 'P':
        return unsupported("the Unicode property '\\p'");
      default:
        break;
    }
    TW_ASSIGN_OR_RETURN(const char32_t code_point, parse_char_escape(c));
    return CharSet({{code_point, code_point}});
  }

  Result<char32_t> parse_char_escape(char c) {
    switch (c) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'f':
        return U'\f';
      case 'v':
        return U'\v';
      case '0':
        return U'\0';
      case 'x':
        return parse_hex(2, 2);
      case 'u':
        return parse_unicode();
      case 'c': {
        const char letter = peek();
        if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))) {
          return fail("a letter is expected after '\\c'");
        }
        ++pos_;
        return static_cast<char32_t>(letter & 31);
      }
      default:
        break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      return unsupported(fmt::format("the escape '\\{}'", c));
    }
    --pos_;
    return base::decode_utf8(pattern_, pos_);
  }

  Result<char32_t> parse_unicode() {
    if (take('{')) {
      TW_ASSIGN_OR_RETURN(const char32_t code_point, parse_hex(1, 6));
      if (!take('}')) return fail("'}' is expected here");
      return code_point;
    }
    TW_ASSIGN_OR_RETURN(const char32_t high, parse_hex(4, 4));
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || !starts_with("\\u")) return fail("half of a surrogate pair is not a character");
    pos_ += 2;
    TW_ASSIGN_OR_RETURN(const char32_t low, parse_hex(4, 4));
    if (low < 0xDC00 || low > 0xDFFF) return fail("half of a surrogate pair is not a character");
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }

  Result<char32_t> parse_hex(int least, int most) {
    char32_t value = 0;
    int count = 0;
    for (; count < most; ++count, ++pos_) {
      const char c = peek();
      if (c >= '0' && c <= '9')
        value = value * 16 + static_cast<char32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        value = value * 16 + static_cast<char32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        value = value * 16 + static_cast<char32_t>(c - 'A' + 10);
      else
        break;
    }
    if (count < least) return fail("hexadecimal digits are expected here");
    if (value > kLastCodePoint) return fail("the code point is above U+10FFFF");
    return value;
  }

  Result<ExprId> parse_class() {
    ++pos_;
    const bool negated = take('^');
    CharSet set;
    while (!take(']')) {
      if (at_end()) return fail("the character class has no closing ']'");
      TW_ASSIGN_OR_RETURN(CharSet lo, parse_class_item());
      if (peek() == '-' && peek(1) != ']' && pos_ + 1 < pattern_.size()) {
        ++pos_;
        TW_ASSIGN_OR_RETURN(const CharSet hi, parse_class_item());
        if (!is_one_char(lo) || !is_one_char(hi)) return fail("a range needs a single character at each end");
        const char32_t first = lo.ranges()[0].lo, last = hi.ranges()[0].lo;
        if (last < first) return fail("the range of the character class is upside down");
        lo = CharSet({{first, last}});
      }
      set = set.united(lo);
    }
    return builder_.chars(negated ? set.complement() : set);
  }

  static bool is_one_char(const CharSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].lo == set.ranges()[0].hi;
  }

  Result<CharSet> parse_class_item() {
    if (take('\\')) {
      if (take('b')) return CharSet({{'\b', '\b'}});
      return parse_escape();
    }
    if (at_end()) return fail("the character class has no closing ']'");
    const char32_t code_point = base::decode_utf8(pattern_, pos_);
    return CharSet({{code_point, code_point}});
  }

  GrammarBuilder& builder_;
  const std::string_view pattern_;
  std::size_t pos_ = 0;
};

}  // namespace

Result<Automaton> regex_automaton(GrammarBuilder& builder, std::string_view pattern, RegexMatch match) {
  if (pattern.size() > kMaxRegexBytes) {
    return error(Code::kResourceExhausted, "the pattern is longer than {} bytes", kMaxRegexBytes);
  }
  const Result<ExprId> parsed = RegexParser(builder, pattern).parse();
  if (!builder.ok())
    return builder.code_point_automaton(0);  // a limit, where parsing ended: see compile_gbnf()
  if (!parsed.ok()) return parsed.error();
  ExprId expr = *parsed;
  if (match == RegexMatch::kSearch) {
    const ExprId anything = builder.repeat(builder.chars(CharSet::all()), 0, -1);
    expr = builder.seq({anything, expr, anything});
  }
  return builder.code_point_automaton(expr);
}

Result<GrammarPtr> compile_regex(std::string_view pattern) {
  GrammarBuilder builder;
  TW_ASSIGN_OR_RETURN(Automaton dfa, regex_automaton(builder, pattern, RegexMatch::kWhole));
  const RuleId root = builder.add_rule();
  builder.define(root, builder.automaton(std::make_shared<const Automaton>(std::move(dfa)), false));
  return builder.build(root);
}

}  // namespace tw::text
