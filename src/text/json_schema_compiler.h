// One schema document on its way into a GrammarBuilder. For the use of json_schema*.cc only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/grammar_builder.h"
#include "text/json_schema_number.h"
#include "text/json_schema_parts.h"
#include "text/json_schema_text.h"

namespace tw::text {

/// Every goal becomes one rule, made when first asked for and defined later from a queue: so recursive
/// schemas end, and deep ones need no deep stack.
class SchemaCompiler {
 public:
  SchemaCompiler(GrammarBuilder& builder, JsonText& text, SchemaDocument& document)
      : b_(builder), text_(text), document_(document) {}

  /// The values that satisfy all schemas of the goal.
  base::Result<ExprId> value(const Goal& goal);
  /// Defines all rules that value() has promised.
  base::Status finish();

 private:
  base::Result<ExprId> body(const Goal& goal);
  base::Result<ExprId> conjunction(const Goal& parts);
  base::Result<ExprId> constants(const Goal& parts, std::uint32_t types,
                                 const std::vector<base::OrderedJson>& values);

  // json_schema_string.cc
  struct StringLimits {
    std::int64_t min = 0;
    std::int64_t max = -1;
    std::optional<Automaton> pattern;  ///< over code points: all patterns and formats together
  };
  base::Result<StringLimits> string_limits(const Goal& parts);
  base::Result<ExprId> string_value(const Goal& parts);
  static bool string_fits(const StringLimits& limits, const std::string& value);

  // json_schema_object.cc
  struct Property {
    std::string name;
    Goal goal;
    bool required = false;
  };
  struct ObjectShape {
    std::vector<Property> properties;
    bool open = true;  ///< further properties may come
    Goal further;      ///< what their values must satisfy
    std::int64_t min = 0;
    std::int64_t max = -1;
  };
  base::Result<ObjectShape> object_shape(const Goal& parts);
  base::Result<std::vector<std::string>> property_names(const Goal& parts,
                                                        std::vector<std::string>& required);
  base::Result<bool> property_goal(const Goal& parts, const std::string& name, Goal& goal);
  base::Result<ExprId> object_value(const Goal& parts);
  base::Result<ExprId> further_pair(const ObjectShape& shape);

  // json_schema_array.cc
  struct ArrayShape {
    std::vector<ExprId> first;  ///< items by place
    ExprId further = -1;        ///< all items after them; -1: there are none
    std::int64_t min = 0;
    std::int64_t max = -1;
  };
  base::Result<ArrayShape> array_shape(const Goal& parts);
  base::Result<bool> item_goal(const Goal& parts, std::size_t place, Goal& goal);
  base::Result<ExprId> array_value(const Goal& parts);

  GrammarBuilder& b_;
  JsonText& text_;
  SchemaDocument& document_;
  std::map<std::vector<const base::OrderedJson*>, RuleId> rules_;
  std::vector<std::pair<Goal, RuleId>> queue_;
};

}  // namespace tw::text
