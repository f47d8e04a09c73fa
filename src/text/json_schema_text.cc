#include "text/json_schema_text.h"

#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace tw::text {

ExprId JsonText::once(ExprId& slot, ExprId (JsonText::*make)()) {
  if (slot < 0) slot = (this->*make)();
  return slot;
}

ExprId JsonText::space() {
  return once(space_, &JsonText::make_space);
}
ExprId JsonText::comma() {
  return once(comma_, &JsonText::make_comma);
}
ExprId JsonText::string() {
  return once(string_, &JsonText::make_string);
}
ExprId JsonText::any() {
  return once(any_, &JsonText::make_any);
}

ExprId JsonText::make_space() {
  const ExprId indent = builder_.repeat(builder_.bytes(" "), 0, kMaxIndent);
  return builder_.alt({builder_.empty(), builder_.bytes(" "), builder_.seq({builder_.bytes("\n"), indent})});
}

ExprId JsonText::make_comma() {
  return builder_.seq({builder_.bytes(","), space()});
}

ExprId JsonText::colon() {
  return builder_.seq({builder_.bytes(":"), builder_.optional(builder_.bytes(" "))});
}

/// One code point inside a string: itself or an escape; surrogates only in pairs.
ExprId JsonText::make_char() {
  auto& b = builder_;
  const ExprId plain = b.chars(CharSet({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}).complement());
  const ExprId any_hex = b.chars(CharSet({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}));
  const ExprId not_d = b.chars(CharSet({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}));
  const ExprId d = b.chars(CharSet({{'D', 'D'}, {'d', 'd'}}));
  const ExprId low_half = b.chars(CharSet({{'C', 'F'}, {'c', 'f'}}));
  const ExprId high_half = b.chars(CharSet({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}));
  const ExprId simple = b.alt({b.seq({not_d, any_hex, any_hex, any_hex}),
                               b.seq({d, b.chars(CharSet({{'0', '7'}})), any_hex, any_hex})});
  const ExprId pair = b.seq({d, high_half, any_hex, any_hex, b.bytes("\\u"), d, low_half, any_hex, any_hex});
  const ExprId letter = b.chars(CharSet(
      {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}));
  const ExprId escape = b.alt({letter, b.seq({b.bytes("u"), b.alt({simple, pair})})});
  return b.alt({plain, b.seq({b.bytes("\\"), escape})});
}

ExprId JsonText::make_string() {
  const RuleId rule = builder_.add_rule(true);
  builder_.define(rule, string_of_length(0, -1));
  return builder_.ref(rule);
}

ExprId JsonText::string_of_length(std::int32_t min, std::int32_t max) {
  const ExprId quote = builder_.bytes("\"");
  return builder_.seq({quote, builder_.repeat(once(char_, &JsonText::make_char), min, max), quote});
}

ExprId JsonText::integer() {
  const ExprId digit = builder_.chars(CharSet({{'0', '9'}})), first = builder_.chars(CharSet({{'1', '9'}}));
  return builder_.alt({builder_.bytes("0"), builder_.seq({builder_.optional(builder_.bytes("-")), first,
                                                          builder_.repeat(digit, 0, kIntegerDigits - 1)})});
}

ExprId JsonText::number() {
  auto& b = builder_;
  const ExprId digit = b.chars(CharSet({{'0', '9'}})), first = b.chars(CharSet({{'1', '9'}}));
  const ExprId whole = b.alt({b.bytes("0"), b.seq({first, b.repeat(digit, 0, kNumberDigits - 1)})});
  const ExprId fraction = b.seq({b.bytes("."), b.repeat(digit, 1, kNumberDigits)});
  const ExprId sign = b.chars(CharSet({{'+', '+'}, {'-', '-'}}));
  const ExprId exponent =
      b.seq({b.chars(CharSet({{'E', 'E'}, {'e', 'e'}})), b.optional(sign), b.repeat(digit, 1, 2)});
  return b.seq({b.optional(b.bytes("-")), whole, b.optional(fraction), b.optional(exponent)});
}

ExprId JsonText::boolean() {
  return builder_.alt({builder_.bytes("true"), builder_.bytes("false")});
}

ExprId JsonText::make_any() {
  const RuleId rule = builder_.add_rule(true);
  any_ = builder_.ref(rule);
  builder_.define(
      rule, builder_.alt({any_object(), any_array(), string(), number(), boolean(), builder_.bytes("null")}));
  return any_;
}

ExprId JsonText::list(std::string_view open, ExprId item, std::string_view close) {
  const ExprId more = builder_.repeat(builder_.seq({comma(), item}), 0, -1);
  const ExprId items = builder_.optional(builder_.seq({item, more}));
  return builder_.seq({builder_.bytes(open), space(), items, space(), builder_.bytes(close)});
}

ExprId JsonText::any_object() {
  return list("{", builder_.seq({string(), colon(), any()}), "}");
}

ExprId JsonText::any_array() {
  return list("[", any(), "]");
}

ExprId JsonText::quoted(std::string_view text) {
  Automaton dfa;
  std::int32_t state = dfa.add_state();
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = base::decode_utf8(text, pos);
    const std::int32_t next = dfa.add_state();
    dfa.add_edge(state, c, c, next);
    state = next;
  }
  dfa.set_accepting(state, true);
  const ExprId quote = builder_.bytes("\"");
  return builder_.seq(
      {quote, builder_.automaton(std::make_shared<const Automaton>(std::move(dfa)), true), quote});
}

ExprId JsonText::literal(const base::OrderedJson& value) {
  if (value.is_string()) return quoted(value.get_ref<const std::string&>());
  if (!value.is_structured()) return builder_.bytes(base::dump_json(value));
  const bool is_object = value.is_object();
  std::vector<ExprId> parts{builder_.bytes(is_object ? "{" : "["), space()};
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (it != value.begin()) parts.push_back(comma());
    if (is_object) {
      parts.push_back(quoted(it.key()));
      parts.push_back(colon());
    }
    parts.push_back(literal(*it));
  }
  parts.push_back(space());
  parts.push_back(builder_.bytes(is_object ? "}" : "]"));
  return builder_.seq(std::move(parts));
}

}  // namespace tw::text
