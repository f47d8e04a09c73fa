// Regular expressions in the notation of ECMA-262 with the u flag, as JSON Schema uses them.
//
// Supported: alternation, groups (capturing, non-capturing, named), * + ? {m} {m,} {m,n} and their lazy
// forms, classes with ranges and negation, . \d \D \w \W \s \S, escapes (\n \t ... \xHH \uHHHH \u{...} \cX),
// and the anchors ^ and $ anywhere. Look-around, back-references, \b, \B, \p{...} and inline flags are
// kUnsupported.
// `.` is any code point but a line end (\n \r U+2028 U+2029); \d and \w are ASCII; \s is ECMA's white space.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/grammar_automaton.h"
#include "text/grammar_builder.h"

namespace tw::text {

inline constexpr std::size_t kMaxRegexBytes = 64 << 10;

enum class RegexMatch {
  kWhole,   ///< the whole text must match
  kSearch,  ///< some part of the text must match (JSON Schema's `pattern`)
};

/// The texts that match, as a deterministic automaton over code points. Errors name the offset in `where`.
/// The builder lends its limits and its room for expressions; no rule is added to it.
base::Result<Automaton> regex_automaton(GrammarBuilder& builder, std::string_view pattern, RegexMatch match);

}  // namespace tw::text
