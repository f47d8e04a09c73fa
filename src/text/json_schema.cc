#include "text/json_schema.h"

#include <algorithm>
#include <utility>

#include "text/json_schema_compiler.h"

namespace tw::text {

using base::Code;
using base::OrderedJson;
using base::Result;
using base::Status;

Result<ExprId> SchemaCompiler::value(const Goal& goal) {
  std::vector<const OrderedJson*> key;
  for (const SchemaPart& part : goal) {
    const bool is_true = *part.schema == true || (part.schema->is_object() && part.schema->empty());
    if (!is_true) key.push_back(part.schema);
  }
  if (key.empty()) return text_.any();
  std::sort(key.begin(), key.end());
  key.erase(std::unique(key.begin(), key.end()), key.end());
  const auto known = rules_.find(key);
  if (known != rules_.end()) return b_.ref(known->second);
  const RuleId rule = b_.add_rule();
  if (!b_.ok()) {
    return schema_error(Code::kResourceExhausted, goal[0], "",
                        "the schema has too many different parts: make it smaller");
  }
  rules_.emplace(std::move(key), rule);
  queue_.emplace_back(goal, rule);
  return b_.ref(rule);
}

Status SchemaCompiler::finish() {
  while (!queue_.empty()) {
    const auto [goal, rule] = std::move(queue_.back());
    queue_.pop_back();
    TW_ASSIGN_OR_RETURN(const ExprId expr, body(goal));
    b_.define(rule, expr);
  }
  return base::Ok{};
}

Result<ExprId> SchemaCompiler::body(const Goal& goal) {
  TW_ASSIGN_OR_RETURN(const std::vector<FlatGoal> flats, document_.alternatives(goal));
  std::vector<ExprId> choices;
  for (const FlatGoal& flat : flats) {
    TW_ASSIGN_OR_RETURN(const ExprId choice, conjunction(flat.parts));
    choices.push_back(choice);
  }
  return b_.alt(std::move(choices));
}

Result<ExprId> SchemaCompiler::conjunction(const Goal& parts) {
  TW_ASSIGN_OR_RETURN(const std::uint32_t types, allowed_types(parts));
  TW_ASSIGN_OR_RETURN(const auto values, allowed_values(parts));
  if (values) return constants(parts, types, *values);
  std::vector<ExprId> choices;
  if (types & kNullBit) choices.push_back(b_.bytes("null"));
  if (types & kBooleanBit) choices.push_back(text_.boolean());
  if (types & kStringBit) {
    TW_ASSIGN_OR_RETURN(const ExprId string, string_value(parts));
    choices.push_back(string);
  }
  if (types & (kIntegerBit | kFractionBit)) {
    const bool only_integers = (types & kFractionBit) == 0;
    TW_ASSIGN_OR_RETURN(const NumberLimits limits, number_limits(parts, only_integers));
    if (!limits.bounded() && limits.multiple_of == 1) {
      choices.push_back(only_integers ? text_.integer() : text_.number());
    } else if (only_integers) {
      TW_ASSIGN_OR_RETURN(const ExprId integer, integer_between(b_, limits));
      choices.push_back(integer);
    } else {
      choices.push_back(number_between(b_, limits));
    }
  }
  if (types & kArrayBit) {
    TW_ASSIGN_OR_RETURN(const ExprId array, array_value(parts));
    choices.push_back(array);
  }
  if (types & kObjectBit) {
    TW_ASSIGN_OR_RETURN(const ExprId object, object_value(parts));
    choices.push_back(object);
  }
  return b_.alt(std::move(choices));
}

namespace {

/// Fails if arrays or objects, given as constants, are also described by keywords.
Status no_structure(const Goal& parts) {
  for (const SchemaPart& part : parts) {
    for (const std::string_view keyword :
         {"properties", "required", "additionalProperties", "minProperties", "maxProperties", "items",
          "prefixItems", "additionalItems", "minItems", "maxItems"}) {
      if (find_keyword(part, keyword) == nullptr) continue;
      return schema_error(
          Code::kUnsupported, part, keyword,
          "beside an 'enum' or 'const' of arrays or objects this cannot be enforced: remove it");
    }
  }
  return base::Ok{};
}

}  // namespace

Result<ExprId> SchemaCompiler::constants(const Goal& parts, std::uint32_t types,
                                         const std::vector<OrderedJson>& values) {
  TW_ASSIGN_OR_RETURN(const StringLimits string, string_limits(parts));
  TW_ASSIGN_OR_RETURN(const NumberLimits number, number_limits(parts, (types & kFractionBit) == 0));
  std::vector<ExprId> choices;
  for (const OrderedJson& value : values) {
    if ((types & type_of(value)) == 0) continue;
    if (value.is_string() && !string_fits(string, value.get_ref<const std::string&>())) continue;
    if (value.is_number() && !within(number, value)) continue;
    if (value.is_structured()) TW_RETURN_IF_ERROR(no_structure(parts));
    choices.push_back(text_.literal(value));
  }
  return b_.alt(std::move(choices));
}

Result<ExprId> add_json_schema(GrammarBuilder& builder, JsonText& text, const OrderedJson& schema,
                               const std::string& name) {
  SchemaDocument document(schema, name);
  SchemaCompiler compiler(builder, text, document);
  TW_ASSIGN_OR_RETURN(const ExprId expr, compiler.value({document.root()}));
  TW_RETURN_IF_ERROR(compiler.finish());
  return expr;
}

Result<GrammarPtr> compile_json_schema(const OrderedJson& schema) {
  GrammarBuilder builder;
  JsonText text(builder);
  TW_ASSIGN_OR_RETURN(const ExprId expr, add_json_schema(builder, text, schema));
  const RuleId root = builder.add_rule();
  builder.define(root, expr);
  return builder.build(root);
}

GrammarPtr json_object_grammar() {
  GrammarBuilder builder;
  JsonText text(builder);
  const RuleId root = builder.add_rule();
  builder.define(root, text.any_object());
  auto grammar = builder.build(root);
  TW_CHECK(grammar.ok(), "the grammar of any JSON object is small");
  return std::move(grammar).value();
}

}  // namespace tw::text
