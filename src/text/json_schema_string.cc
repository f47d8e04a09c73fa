// Strings: pattern, format, minLength, maxLength.
#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "text/json_schema_compiler.h"
#include "text/json_schema_format.h"
#include "text/regex_grammar.h"

namespace tw::text {
namespace {

using base::Code;
using base::OrderedJson;
using base::Result;

constexpr std::int64_t kMaxCounted = 20'000;  // code points that lengths may count

/// All strings of min to max code points.
Automaton any_of_length(std::int64_t min, std::int64_t max) {
  Automaton out;
  const std::int64_t last = max >= 0 ? max : min;
  for (std::int64_t n = 0; n <= last; ++n) out.add_state(n >= min);
  for (std::int64_t n = 0; n < last; ++n) {
    out.add_edge(static_cast<std::int32_t>(n), 0, kLastCodePoint, static_cast<std::int32_t>(n) + 1);
  }
  const auto end = static_cast<std::int32_t>(last);
  if (max < 0) out.add_edge(end, 0, kLastCodePoint, end);
  return out;
}

Result<Automaton> pattern_of(GrammarBuilder& builder, const SchemaPart& part, std::string_view keyword,
                             const OrderedJson& value) {
  if (!value.is_string()) return schema_error(Code::kInvalidArgument, part, keyword, "must be a string");
  const std::string& text = value.get_ref<const std::string&>();
  const bool is_format = keyword == "format";
  const std::string pattern = is_format ? format_pattern(text) : text;
  if (is_format && pattern.empty()) {
    return schema_error(Code::kUnsupported, part, keyword,
                        fmt::format("the format '{}' cannot be enforced: remove it, or use 'pattern'", text));
  }
  auto dfa = regex_automaton(builder, pattern, is_format ? RegexMatch::kWhole : RegexMatch::kSearch);
  if (!dfa.ok()) return schema_error(dfa.error().code, part, keyword, dfa.error().text());
  return dfa;
}

}  // namespace

Result<SchemaCompiler::StringLimits> SchemaCompiler::string_limits(const Goal& parts) {
  StringLimits limits;
  TW_ASSIGN_OR_RETURN(const auto min, count_keyword(parts, "minLength", true));
  TW_ASSIGN_OR_RETURN(const auto max, count_keyword(parts, "maxLength", false));
  limits.min = min.value_or(0);
  limits.max = max.value_or(-1);
  for (const SchemaPart& part : parts) {
    for (const std::string_view keyword : {"pattern", "format"}) {
      const OrderedJson* value = find_keyword(part, keyword);
      if (value == nullptr) continue;
      TW_ASSIGN_OR_RETURN(Automaton dfa, pattern_of(b_, part, keyword, *value));
      if (limits.pattern) {
        auto both = b_.intersected(*limits.pattern, dfa);
        if (!both.ok()) return schema_error(both.error().code, part, keyword, both.error().message);
        dfa = std::move(*both);
      }
      limits.pattern = std::move(dfa);
    }
  }
  return limits;
}

bool SchemaCompiler::string_fits(const StringLimits& limits, const std::string& value) {
  std::vector<Symbol> text;
  for (std::size_t pos = 0; pos < value.size();) text.push_back(base::decode_utf8(value, pos));
  const auto length = static_cast<std::int64_t>(text.size());
  if (length < limits.min || (limits.max >= 0 && length > limits.max)) return false;
  return !limits.pattern || accepts(*limits.pattern, text);
}

Result<ExprId> SchemaCompiler::string_value(const Goal& parts) {
  TW_ASSIGN_OR_RETURN(StringLimits limits, string_limits(parts));
  if (limits.max >= 0 && limits.min > limits.max) return b_.never();
  if (!limits.pattern && limits.min == 0 && limits.max < 0) return text_.string();
  if (std::max(limits.min, limits.max) > kMaxCounted) {
    return schema_error(Code::kUnsupported, parts[0], limits.min > kMaxCounted ? "minLength" : "maxLength",
                        fmt::format("lengths above {} cannot be enforced: use a smaller one", kMaxCounted));
  }
  if (!limits.pattern) {
    return text_.string_of_length(static_cast<std::int32_t>(limits.min),
                                  static_cast<std::int32_t>(limits.max));
  }
  Automaton dfa = std::move(*limits.pattern);
  if (limits.min > 0 || limits.max >= 0) {
    auto both = b_.intersected(dfa, any_of_length(limits.min, limits.max));
    if (!both.ok()) return schema_error(both.error().code, parts[0], "pattern", both.error().message);
    dfa = std::move(*both);
  }
  const ExprId quote = b_.bytes("\"");
  return b_.seq({quote, b_.automaton(std::make_shared<const Automaton>(std::move(dfa)), true), quote});
}

}  // namespace tw::text
