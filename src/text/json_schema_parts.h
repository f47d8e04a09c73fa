// Conjunctions of schemas: what $ref, allOf, anyOf and oneOf come down to.
//
// A value is described by a Goal: a list of schemas that must all hold. Flattening follows $ref and allOf,
// and collects the choices; then every choice is taken apart into its options. What remains are Goals of
// plain schemas (no applicators in place), so intersection needs no merging of schemas: each keyword reads
// all parts.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::text {

/// A schema and where it stands, as a JSON pointer for messages. The document outlives it.
struct SchemaPart {
  const base::OrderedJson* schema;
  std::string pointer;
};
using Goal = std::vector<SchemaPart>;

struct SchemaChoice {
  SchemaPart options;  ///< the array under anyOf or oneOf
  bool exclusive = false;
};

struct FlatGoal {
  bool never = false;  ///< holds the schema `false`
  Goal parts;          ///< distinct object schemas
  std::vector<SchemaChoice> choices;
};

/// JSON types as bits; an integer is a number without a fraction, so `number` has two bits.
enum TypeBits : std::uint32_t {
  kNullBit = 1,
  kBooleanBit = 2,
  kObjectBit = 4,
  kArrayBit = 8,
  kStringBit = 16,
  kIntegerBit = 32,
  kFractionBit = 64,
  kAllBits = 127,
};

class SchemaDocument {
 public:
  SchemaDocument(const base::OrderedJson& root, std::string name) : root_(root), name_(std::move(name)) {}

  SchemaPart root() const { return {&root_, name_}; }
  /// Adds a schema and all it refers to. Fails on unknown keywords, references that lead nowhere, and cycles
  /// of references without a value in between.
  base::Status flatten(const SchemaPart& part, FlatGoal& out);
  /// The goal as alternatives without choices. Fails for a oneOf whose options are not provably disjoint.
  base::Result<std::vector<FlatGoal>> alternatives(const Goal& goal);

 private:
  base::Status flatten(const SchemaPart& part, FlatGoal& out, std::vector<const base::OrderedJson*>& path);
  base::Status check_keywords(const SchemaPart& part);
  base::Result<SchemaPart> resolve(const SchemaPart& part, const std::string& reference) const;
  base::Status take_choice(const FlatGoal& goal, std::vector<FlatGoal>& out);

  const base::OrderedJson& root_;
  const std::string name_;
  std::set<const base::OrderedJson*> checked_;
};

/// The member of an object schema, or null.
const base::OrderedJson* find_keyword(const SchemaPart& part, std::string_view keyword);
SchemaPart sub_part(const SchemaPart& part, std::string_view keyword, const base::OrderedJson& schema);
SchemaPart sub_part(const SchemaPart& part, std::string_view keyword, std::string_view key,
                    const base::OrderedJson& schema);
/// An error at a keyword of a schema.
base::Error schema_error(base::Code code, const SchemaPart& part, std::string_view keyword,
                         std::string message);

/// The types that all parts allow.
base::Result<std::uint32_t> allowed_types(const Goal& parts);
/// The values that enum and const leave, or nothing if there is neither.
base::Result<std::optional<std::vector<base::OrderedJson>>> allowed_values(const Goal& parts);
std::uint32_t type_of(const base::OrderedJson& value);
/// A count such as minLength: the largest (or smallest) of all parts. Absent: nothing.
base::Result<std::optional<std::int64_t>> count_keyword(const Goal& parts, std::string_view keyword,
                                                        bool largest);
/// Whether no value can satisfy both; false when that cannot be shown.
base::Result<bool> provably_disjoint(const Goal& a, const Goal& b);

}  // namespace tw::text
