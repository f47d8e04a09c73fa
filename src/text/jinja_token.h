// The lexer of templates: text between tags, and the tokens inside tags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::text::jinja {

enum class TokenKind : std::uint8_t {
  kData,           ///< text outside tags, with white space control already applied
  kVariableBegin,  ///< {{
  kVariableEnd,
  kBlockBegin,  ///< {%
  kBlockEnd,
  kName,
  kString,  ///< text holds the value, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

/// Splits a template as jinja2 does with trim_blocks and lstrip_blocks. The last token is kEnd.
/// Fails with kCorrupt, naming the line.
base::Result<std::vector<Token>> tokenize(std::string_view source);

/// The value of a string literal's inside: Python's unicode-escape decoding.
base::Result<std::string> unescape(std::string_view inside);

}  // namespace tw::text::jinja
