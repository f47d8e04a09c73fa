#include "text/jinja_token.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Code;
using base::error;
using base::Result;
using base::Status;

/// "\r\n" and "\r" become "\n", and one newline at the very end goes.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r')
      out += source[i];
    else if (i + 1 == source.size() || source[i + 1] != '\n')
      out += '\n';
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_char(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || static_cast<unsigned char>(c) >= 0x80 || (!first && is_digit(c));
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(source) {}

  Result<std::vector<Token>> run() {
    while (pos_ < text_.size()) TW_RETURN_IF_ERROR(root());
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return text_.substr(pos_); }
  bool at(std::string_view token) const { return rest().starts_with(token); }
  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  base::Error fail(std::string_view what) const {
    return {Code::kCorrupt, std::string(what), "line " + std::to_string(line_)};
  }

  /// Moves forward and counts lines; remembers whether the last thing passed ended a line.
  void skip(std::size_t count) {
    const std::string_view passed = text_.substr(pos_, count);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    pos_ += passed.size();
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
  }

  std::size_t spaces_from(std::size_t pos) const {
    return text_.size() - pos - strip(text_.substr(pos), Side::kLeft).size();
  }

  /// Text up to the next tag, and the tag's opening.
  Status root() {
    std::size_t open = pos_;
    while (open < text_.size() && !opens_tag(open)) ++open;
    const std::string_view data = rest().substr(0, open - pos_);
    if (open == text_.size()) {
      if (!data.empty()) push(TokenKind::kData, std::string(data));
      skip(data.size());
      return base::Ok{};
    }
    const char kind = text_[open + 1];
    const char sign = open + 2 < text_.size() ? text_[open + 2] : ' ';
    const std::string_view kept = control_left(data, kind, sign);
    if (!kept.empty()) push(TokenKind::kData, std::string(kept));
    skip(data.size());
    const std::size_t raw = kind == '%' ? raw_begin(open) : 0;
    if (raw != 0) return raw_block(raw);
    skip(sign == '-' || (sign == '+' && kind != '{') ? 3 : 2);
    if (kind == '#') return comment();
    return tag(kind);
  }

  bool opens_tag(std::size_t pos) const {
    if (text_[pos] != '{' || pos + 1 >= text_.size()) return false;
    return text_[pos + 1] == '{' || text_[pos + 1] == '%' || text_[pos + 1] == '#';
  }

  /// What of the text before a tag stays: '-' strips white space, lstrip_blocks the indentation of a block.
  std::string_view control_left(std::string_view data, char kind, char sign) const {
    if (sign == '-') return strip(data, Side::kRight);
    if (sign == '+' || kind == '{') return data;
    const std::size_t newline = data.rfind('\n');
    const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    if (start == 0 && !line_starting_) return data;
    return strip(data.substr(start), Side::kLeft).empty() ? data.substr(0, start) : data;
  }

  /// Bytes of "{% raw %}" at `open`, or 0.
  std::size_t raw_begin(std::size_t open) const {
    std::size_t pos = open + 2;
    if (pos < text_.size() && (text_[pos] == '-' || text_[pos] == '+')) ++pos;
    pos += spaces_from(pos);
    if (!text_.substr(pos).starts_with("raw")) return 0;
    pos += 3;
    pos += spaces_from(pos);
    if (text_.substr(pos).starts_with("-%}")) return pos + 3 + spaces_from(pos + 3) - open;
    return text_.substr(pos).starts_with("%}") ? pos + 2 - open : 0;
  }

  Status raw_block(std::size_t size) {
    skip(size);
    for (std::size_t open = text_.find("{%", pos_); open != std::string_view::npos;
         open = text_.find("{%", open + 1)) {
      std::size_t pos = open + 2;
      const char sign = pos < text_.size() ? text_[pos] : ' ';
      if (sign == '-' || sign == '+') ++pos;
      pos += spaces_from(pos);
      if (!text_.substr(pos).starts_with("endraw")) continue;
      pos += 6;
      pos += spaces_from(pos);
      const std::size_t closing = closing_size(pos, "%}");
      if (closing == 0) continue;
      const std::string_view kept = control_left(rest().substr(0, open - pos_), '%', sign);
      if (!kept.empty()) push(TokenKind::kData, std::string(kept));
      skip(pos + closing - pos_);
      return base::Ok{};
    }
    return fail("a raw block is never closed: add {% endraw %}");
  }

  /// Bytes of a tag's end at `pos` with what it swallows: '-' all white space, '+' nothing, else one newline
  /// (trim_blocks). 0 if the tag does not end here.
  std::size_t closing_size(std::size_t pos, std::string_view closer) const {
    const std::string_view here = text_.substr(pos);
    if (here.starts_with(closer)) {
      const bool newline = closer != "}}" && here.substr(2).starts_with('\n');
      return newline ? 3 : 2;
    }
    if (here.empty() || !here.substr(1).starts_with(closer)) return 0;
    if (here[0] == '-') return 3 + spaces_from(pos + 3);
    return here[0] == '+' && closer != "}}" ? 3 : 0;
  }

  Status comment() {
    for (std::size_t close = pos_; close < text_.size(); ++close) {
      const std::size_t size = closing_size(close, "#}");
      if (size == 0) continue;
      skip(close + size - pos_);
      return base::Ok{};
    }
    return fail("a comment is never closed: add #}");
  }

  Status tag(char kind) {
    const bool variable = kind == '{';
    push(variable ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
    std::string brackets;
    while (pos_ < text_.size()) {
      const std::size_t closing = brackets.empty() ? closing_size(pos_, variable ? "}}" : "%}") : 0;
      if (closing != 0) {
        push(variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
        skip(closing);
        return base::Ok{};
      }
      TW_RETURN_IF_ERROR(token(brackets));
    }
    return fail(variable ? "a {{ is never closed: add }}" : "a {% is never closed: add %}");
  }

  Status token(std::string& brackets) {
    if (const std::size_t spaces = spaces_from(pos_); spaces > 0) {
      skip(spaces);
      return base::Ok{};
    }
    const char c = text_[pos_];
    if (is_digit(c)) return number();
    if (is_name_char(c, true)) return name();
    if (c == '\'' || c == '"') return string_literal(c);
    return symbol(brackets);
  }

  Status name() {
    std::size_t size = 1;
    while (size < rest().size() && is_name_char(rest()[size], false)) ++size;
    push(TokenKind::kName, std::string(rest().substr(0, size)));
    skip(size);
    return base::Ok{};
  }

  /// Digits with single underscores between them, from `pos`.
  std::size_t digits_from(std::size_t pos) const {
    std::size_t end = pos;
    while (end < text_.size() &&
           (is_digit(text_[end]) || (text_[end] == '_' && end > pos && end + 1 < text_.size() &&
                                     is_digit(text_[end + 1]) && text_[end - 1] != '_'))) {
      ++end;
    }
    return end - pos;
  }

  /// Bytes of an exponent ("e-5") at `pos`, or 0.
  std::size_t exponent_from(std::size_t pos) const {
    if (pos >= text_.size() || (text_[pos] | 0x20) != 'e') return 0;
    std::size_t start = pos + 1;
    if (start < text_.size() && (text_[start] == '+' || text_[start] == '-')) ++start;
    const std::size_t digits = digits_from(start);
    return digits == 0 ? 0 : start + digits - pos;
  }

  std::size_t prefixed_integer_size() const {
    const std::string_view here = rest();
    if (here.size() < 3 || here[0] != '0') return 0;
    const char letter = static_cast<char>(here[1] | 0x20);
    const std::string_view allowed = letter == 'x'   ? "0123456789abcdefABCDEF_"
                                     : letter == 'o' ? "01234567_"
                                     : letter == 'b' ? "01_"
                                                     : "";
    if (allowed.empty()) return 0;
    const std::size_t end = std::min(here.find_first_not_of(allowed, 2), here.size());
    return end == 2 ? 0 : end;
  }

  Status number() {
    const bool after_dot = pos_ > 0 && text_[pos_ - 1] == '.';
    const std::size_t whole = digits_from(pos_);
    std::size_t size = whole;
    if (!after_dot) {
      if (pos_ + size < text_.size() && text_[pos_ + size] == '.') {
        const std::size_t fraction = digits_from(pos_ + size + 1);
        if (fraction > 0) size += 1 + fraction;
      }
      size += exponent_from(pos_ + size);
    }
    if (size > whole) {
      push(TokenKind::kFloat, std::string(rest().substr(0, size)));
    } else {
      size = integer_size(whole);
      push(TokenKind::kInteger, std::string(rest().substr(0, size)));
    }
    skip(size);
    return base::Ok{};
  }

  /// A decimal with a leading zero is only its zeros: what follows is another token, as in jinja2.
  std::size_t integer_size(std::size_t decimal) const {
    if (const std::size_t prefixed = prefixed_integer_size(); prefixed != 0) return prefixed;
    if (text_[pos_] != '0') return decimal;
    std::size_t zeros = 0;
    while (zeros < decimal && (rest()[zeros] == '0' || rest()[zeros] == '_')) ++zeros;
    return rest()[zeros - 1] == '_' ? zeros - 1 : zeros;
  }

  Status string_literal(char quote) {
    std::size_t end = pos_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return fail("a string is never closed: add its quote");
    Result<std::string> value = unescape(text_.substr(pos_ + 1, end - pos_ - 1));
    if (!value.ok()) return fail(value.error().message);
    push(TokenKind::kString, std::move(value).value());
    skip(end + 1 - pos_);
    return base::Ok{};
  }

  Status symbol(std::string& brackets) {
    static constexpr std::array<std::string_view, 27> kSymbols = {
        "==", "!=", ">=", "<=", "**", "//", "+", "-", "*", "/", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};
    const auto found =
        std::find_if(kSymbols.begin(), kSymbols.end(), [&](std::string_view s) { return at(s); });
    if (found == kSymbols.end() || *found == "!") return fail("unexpected character '" + shown_char() + "'");
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') {
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) return fail(std::string("unexpected '") + c + "'");
      brackets.pop_back();
    }
    push(TokenKind::kOperator, std::string(*found));
    skip(found->size());
    return base::Ok{};
  }

  std::string shown_char() const {
    std::size_t end = pos_;
    base::decode_utf8(text_, end);
    return std::string(text_.substr(pos_, end - pos_));
  }

  std::string_view text_;
  std::size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

int hex_digits(std::string_view text, std::size_t count, char32_t& value) {
  if (text.size() < count) return -1;
  value = 0;
  for (const char c : text.substr(0, count)) {
    const int digit = is_digit(c)                              ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                               : -1;
    if (digit < 0) return -1;
    value = value << 4 | static_cast<char32_t>(digit);
  }
  return static_cast<int>(count);
}

/// A backslash before a character beyond ASCII: Python first spells that character as an escape, whose own
/// backslash the first one then takes.
void append_spelled(std::string& out, char32_t c) {
  const int width = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
  out += width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[c >> shift & 15];
}

Status append_escape(std::string_view text, std::size_t& pos, std::string& out) {
  static constexpr std::string_view kLetters = "abfnrtv\\'\"\n";
  static constexpr std::array<std::string_view, 11> kValues = {"\a", "\b", "\f", "\n", "\r", "\t",
                                                               "\v", "\\", "'",  "\"", ""};
  const char c = text[pos];
  char32_t value = 0;
  if (const std::size_t at = kLetters.find(c); at != std::string_view::npos) {
    out += kValues[at];
    ++pos;
  } else if (c >= '0' && c <= '7') {
    for (int i = 0; i < 3 && pos < text.size() && text[pos] >= '0' && text[pos] <= '7'; ++i) {
      value = value * 8 + static_cast<char32_t>(text[pos++] - '0');
    }
    base::append_utf8(out, value);
  } else if (c == 'x' || c == 'u' || c == 'U') {
    const int used = hex_digits(text.substr(pos + 1), c == 'x' ? 2 : c == 'u' ? 4 : 8, value);
    if (used < 0 || value > 0x10FFFF) return error(Code::kCorrupt, "a string has a broken \\{} escape", c);
    base::append_utf8(out, value);
    pos += 1 + static_cast<std::size_t>(used);
  } else if (c == 'N') {
    return error(Code::kCorrupt,
                 "a string has a \\N escape, which is not supported: write the character itself");
  } else if (static_cast<unsigned char>(c) >= 0x80) {
    append_spelled(out, base::decode_utf8(text, pos));
  } else {
    out += '\\';
    out += c;
    ++pos;
  }
  return base::Ok{};
}

}  // namespace

Result<std::string> unescape(std::string_view inside) {
  std::string out;
  for (std::size_t pos = 0; pos < inside.size();) {
    if (inside[pos] != '\\' || pos + 1 == inside.size()) {
      out += inside[pos++];
      continue;
    }
    ++pos;
    TW_RETURN_IF_ERROR(append_escape(inside, pos, out));
  }
  return out;
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  if (!base::is_valid_utf8(source)) return error(Code::kCorrupt, "the template is not valid UTF-8");
  const std::string text = normalized(source);
  return Lexer(text).run();
}

}  // namespace tw::text::jinja
