// GBNF, the grammar notation of llama.cpp: `name ::= "text" [a-z] other-rule ( ... | ... )* x{2,5} .  #
// comment`.
//
// A rule ends at a line end outside parentheses; `|` may also begin the next line. Escapes in strings and
// classes:
// \n \r \t \\ \" \[ \] \- \^ and \xHH, \uHHHH, \UHHHHHHHH (each a code point). Classes may be negated; `.` is
// any code point, line ends included. Left recursion is allowed. Token references such as <[123]> are
// kUnsupported.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/grammar_builder.h"

namespace tw::text {

inline constexpr std::size_t kMaxGbnfBytes = 1 << 20;

/// Adds the rules to the builder; returns the rule `root`. Errors name line and column in `where`.
base::Result<RuleId> add_gbnf(GrammarBuilder& builder, std::string_view source);

}  // namespace tw::text
