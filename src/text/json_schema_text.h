// The pieces of JSON text that grammars of JSON are made of, in the one layout that we generate.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "text/grammar_builder.h"

namespace tw::text {

/// Layout: nothing around the document; after `:` at most one space; after `,` `{` `[` and before `}` `]`
/// nothing, one space, or a line end and up to kMaxIndent spaces. So no model can fill its budget with white
/// space. Numbers: at most 18 digits for integers; else 15 before and 15 after the point and 2 in the
/// exponent.
class JsonText {
 public:
  static constexpr std::int32_t kMaxIndent = 20;
  static constexpr std::int32_t kIntegerDigits = 18;
  static constexpr std::int32_t kNumberDigits = 15;

  explicit JsonText(GrammarBuilder& builder) : builder_(builder) {}

  ExprId space();
  ExprId comma();  ///< with the space after it
  ExprId colon();
  /// Any string, every JSON escape included.
  ExprId string();
  /// The same with a number of code points in [min, max] (max -1: unbounded).
  ExprId string_of_length(std::int32_t min, std::int32_t max);
  ExprId integer();
  ExprId number();
  ExprId boolean();
  ExprId any();
  ExprId any_object();
  ExprId any_array();
  /// The string in its canonical form (json_schema.h), with quotes.
  ExprId quoted(std::string_view text);
  /// Exactly this value, its members in this order; only the layout is free.
  ExprId literal(const base::OrderedJson& value);

 private:
  ExprId once(ExprId& slot, ExprId (JsonText::*make)());
  ExprId make_space();
  ExprId make_comma();
  ExprId make_string();
  ExprId make_char();
  ExprId make_any();
  ExprId list(std::string_view open, ExprId item, std::string_view close);
  ExprId hex(CharSet set) { return builder_.chars(std::move(set)); }

  GrammarBuilder& builder_;
  ExprId space_ = -1, comma_ = -1, string_ = -1, char_ = -1, any_ = -1;
};

}  // namespace tw::text
