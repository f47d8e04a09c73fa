// JSON Schema (drafts 6 to 2020-12, and OpenAPI's `nullable`) to grammars.
//
// Every text of the grammar is JSON that satisfies the schema. What is enforced: type (one or a list),
// nullable, enum, const, $ref within the document (recursion included), allOf, anyOf, oneOf (if its branches
// are provably disjoint), properties, required, additionalProperties, minProperties, maxProperties, items,
// prefixItems, minItems, maxItems, pattern, format (the ones of json_schema_format.h), minLength, maxLength,
// minimum, maximum and their exclusive forms, multipleOf for integers, boolean schemas. Annotations are
// ignored. Everything else, unknown keywords included, is kUnsupported and named by its JSON pointer.
//
// The grammar is one layout of the many that JSON allows (JsonText), and stricter than the schema in this:
// - Properties come in the schema's order, further ones last. A key is written once, except that a further
// key may
//   come twice.
// - Where `properties` is given and `additionalProperties` is not, no further properties are generated.
// - Strings under `pattern` or `format`, keys, and constants are in canonical form: quotes, backslashes and
// control
//   characters are escaped (\" \\ \b \t \n \f \r, else \u00XX), all other characters stand for themselves.
//   The pattern applies to the decoded string. Other strings may use every escape.
// - Integers have no fraction or exponent; numbers with bounds have no exponent, and at most 15 digits.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "text/grammar_builder.h"
#include "text/json_schema_text.h"

namespace tw::text {

/// Adds the schema's JSON texts to a grammar in the making. `name` goes before the JSON pointers of errors
/// ("#", or
/// "#/tools/0/function/parameters"). The schema is its own document for $ref, and is only used during the
/// call.
base::Result<ExprId> add_json_schema(GrammarBuilder& builder, JsonText& text, const base::OrderedJson& schema,
                                     const std::string& name = "#");

}  // namespace tw::text
