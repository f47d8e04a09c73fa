#include "text/gbnf.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;
using base::Result;

constexpr int kMaxGroups = 200;  // nesting of parentheses
constexpr std::int32_t kMaxCount =
    100'000;  // of a repetition; the automaton limits are stricter for long parts

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class GbnfParser {
 public:
  GbnfParser(GrammarBuilder& builder, std::string_view source) : builder_(builder), source_(source) {}

  Result<RuleId> parse() {
    if (!base::is_valid_utf8(source_)) return error(Code::kInvalidArgument, "the grammar is not UTF-8 text");
    for (skip_space(true); !at_end(); skip_space(true)) {
      TW_RETURN_IF_ERROR(parse_rule());
      if (!builder_.ok()) break;
    }
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) {
        pos_ = rule.first_use;
        return fail(fmt::format("rule '{}' is used but never defined", name));
      }
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return error(Code::kInvalidArgument, "the grammar has no rule 'root'");
    return root->second.id;
  }

 private:
  struct Rule {
    RuleId id = 0;
    bool defined = false;
    std::size_t first_use = 0;
  };

  bool at_end() const { return pos_ >= source_.size(); }
  char peek(std::size_t ahead = 0) const {
    return pos_ + ahead < source_.size() ? source_[pos_ + ahead] : '\0';
  }

  base::Error fail(std::string message, Code code = Code::kInvalidArgument) const {
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < pos_ && i < source_.size(); ++i) {
      ++column;
      if (source_[i] == '\n') ++line, column = 1;
    }
    return {code, std::move(message), fmt::format("grammar line {}, column {}", line, column)};
  }

  void skip_space(bool newlines) {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n' && peek() != '\r') ++pos_;
      } else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))) {
        ++pos_;
      } else {
        return;
      }
    }
  }

  Rule& rule_named(std::string name) {
    const auto [it, is_new] = rules_.try_emplace(std::move(name));
    if (is_new) it->second = {builder_.add_rule(), false, pos_};
    return it->second;
  }

  Result<std::string> parse_name() {
    const std::size_t begin = pos_;
    while (is_name_char(peek())) ++pos_;
    if (pos_ == begin) return fail("a rule name is expected here");
    return std::string(source_.substr(begin, pos_ - begin));
  }

  base::Status parse_rule() {
    TW_ASSIGN_OR_RETURN(const std::string name, parse_name());
    Rule& rule = rule_named(name);
    if (rule.defined) return fail(fmt::format("rule '{}' is defined twice", name));
    rule.defined = true;
    const RuleId id = rule.id;
    skip_space(false);
    if (source_.substr(pos_, 3) != "::=")
      return fail(fmt::format("'::=' is expected after the name '{}'", name));
    pos_ += 3;
    skip_space(true);
    TW_ASSIGN_OR_RETURN(const ExprId body, parse_alternatives(0));
    builder_.define(id, body);
    if (!at_end() && peek() != '\n' && peek() != '\r') return fail("the rule should end here");
    return base::Ok{};
  }

  Result<ExprId> parse_alternatives(int depth) {
    if (depth > kMaxGroups) return fail("groups are nested too deeply", Code::kResourceExhausted);
    std::vector<ExprId> choices;
    while (true) {
      TW_ASSIGN_OR_RETURN(const ExprId sequence, parse_sequence(depth));
      choices.push_back(sequence);
      const std::size_t line_end = pos_;
      skip_space(true);
      if (peek() != '|') {
        if (depth == 0) pos_ = line_end;
        return builder_.alt(std::move(choices));
      }
      ++pos_;
      skip_space(true);
    }
  }

  /// Whether a new rule, `name ::=`, begins here: then an empty alternative has ended.
  bool at_rule() const {
    std::size_t i = pos_;
    while (i < source_.size() && is_name_char(source_[i])) ++i;
    if (i == pos_) return false;
    while (i < source_.size() && (source_[i] == ' ' || source_[i] == '\t')) ++i;
    return source_.substr(i, 3) == "::=";
  }

  Result<ExprId> parse_sequence(int depth) {
    std::vector<ExprId> parts;
    while (!at_end() && builder_.ok()) {
      const char c = peek();
      if (c == '|' || c == ')' || c == '\n' || c == '\r') break;
      if (parts.empty() && depth == 0 && is_name_char(c) && at_rule()) {
        --pos_;  // back to the line end, so that parse_rule() sees it
        break;
      }
      TW_ASSIGN_OR_RETURN(ExprId item, parse_item(depth));
      skip_space(depth > 0);
      while (std::string_view("*+?{").find(peek()) != std::string_view::npos && !at_end()) {
        TW_ASSIGN_OR_RETURN(item, parse_repetition(item));
        skip_space(depth > 0);
      }
      parts.push_back(item);
    }
    return builder_.seq(std::move(parts));
  }

  Result<ExprId> parse_item(int depth) {
    const char c = peek();
    if (c == '"') return parse_string();
    if (c == '[') return parse_class();
    if (c == '(') {
      ++pos_;
      skip_space(true);
      TW_ASSIGN_OR_RETURN(const ExprId group, parse_alternatives(depth + 1));
      if (peek() != ')') return fail("')' is expected here");
      ++pos_;
      return group;
    }
    if (c == '.') {
      ++pos_;
      return builder_.chars(CharSet::all());
    }
    if (c == '<' || c == '!')
      return fail("token references are not supported: write the text", Code::kUnsupported);
    if (!is_name_char(c)) return fail(fmt::format("unexpected character '{}'", printable(c)));
    const std::size_t begin = pos_;
    TW_ASSIGN_OR_RETURN(std::string name, parse_name());
    const std::size_t end = std::exchange(pos_, begin);
    const RuleId rule = rule_named(std::move(name)).id;
    pos_ = end;
    return builder_.ref(rule);
  }

  static std::string printable(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x7F ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }

  Result<ExprId> parse_repetition(ExprId item) {
    const char c = source_[pos_++];
    if (c == '*') return builder_.repeat(item, 0, -1);
    if (c == '+') return builder_.repeat(item, 1, -1);
    if (c == '?') return builder_.repeat(item, 0, 1);
    skip_space(true);
    TW_ASSIGN_OR_RETURN(const std::int32_t min, parse_count());
    std::int32_t max = min;
    skip_space(true);
    if (peek() == ',') {
      ++pos_;
      skip_space(true);
      max = -1;
      if (peek() != '}') {
        TW_ASSIGN_OR_RETURN(max, parse_count());
        skip_space(true);
      }
    }
    if (peek() != '}') return fail("'}' is expected here");
    ++pos_;
    if (max >= 0 && max < min) return fail("the repetition's upper bound is below its lower bound");
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
    if (pos_ == begin) return fail("a number is expected here");
    return count;
  }

  Result<char32_t> parse_hex(int digits) {
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return fail(fmt::format("{} hexadecimal digits are expected here", digits));
      value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF)) {
      return fail(fmt::format("U+{:04X} is not a character", value));
    }
    return static_cast<char32_t>(value);
  }

  /// One character of a string or class. REQUIRES: not at the end.
  Result<char32_t> parse_char() {
    if (peek() != '\\') return base::decode_utf8(source_, pos_);
    ++pos_;
    const char c = peek();
    ++pos_;
    switch (c) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_hex(4);
      case 'U':
        return parse_hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(c);
      default:
        --pos_;
        return fail(fmt::format("unknown escape '\\{}'", printable(c)));
    }
  }

  Result<ExprId> parse_string() {
    std::string text;
    ++pos_;
    while (peek() != '"') {
      if (at_end()) return fail("the string has no closing '\"'");
      TW_ASSIGN_OR_RETURN(const char32_t c, parse_char());
      base::append_utf8(text, c);
    }
    ++pos_;
    return builder_.bytes(text);
  }

  Result<ExprId> parse_class() {
    ++pos_;
    const bool negated = peek() == '^';
    if (negated) ++pos_;
    std::vector<CharRange> ranges;
    while (peek() != ']') {
      if (at_end()) return fail("the character class has no closing ']'");
      TW_ASSIGN_OR_RETURN(const char32_t lo, parse_char());
      char32_t hi = lo;
      if (peek() == '-' && peek(1) != ']' && pos_ + 1 < source_.size()) {
        ++pos_;
        TW_ASSIGN_OR_RETURN(hi, parse_char());
        if (hi < lo) return fail("the range of the character class is upside down");
      }
      ranges.push_back({lo, hi});
    }
    ++pos_;
    const CharSet set(ranges);
    return builder_.chars(negated ? set.complement() : set);
  }

  GrammarBuilder& builder_;
  const std::string_view source_;
  std::size_t pos_ = 0;
  std::map<std::string, Rule> rules_;
};

}  // namespace

Result<RuleId> add_gbnf(GrammarBuilder& builder, std::string_view source) {
  if (source.size() > kMaxGbnfBytes) {
    return error(Code::kResourceExhausted, "the grammar is longer than {} bytes: make it smaller",
                 kMaxGbnfBytes);
  }
  return GbnfParser(builder, source).parse();
}

Result<GrammarPtr> compile_gbnf(std::string_view source) {
  GrammarBuilder builder;
  const Result<RuleId> root = add_gbnf(builder, source);
  if (!builder.ok())
    return builder.build(0);  // a limit: parsing ended there, and what it says of it is not the fault
  if (!root.ok()) return root.error();
  return builder.build(*root);
}

}  // namespace tw::text
