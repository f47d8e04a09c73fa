// What a chat request and a completion request have in common: sampling, limits, streaming, stop strings,
// constraints.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "infer/sampling_params.h"
#include "serve/fields.h"

namespace tw::serve {

/// A form that the answer must have. At most one per request.
struct Constraint {
  enum class Kind { kNone, kJsonObject, kJsonSchema, kGbnf, kRegex, kChoice };
  Kind kind = Kind::kNone;
  std::string field;  ///< the request field it came from, for messages
  std::string text;   ///< kGbnf, kRegex: the source
  Value schema;       ///< kJsonSchema: the schema; kChoice: a list of strings
};

/// Filled from the body by the tables; starts from the model's own sampling defaults.
struct GenerateFields {
  std::string model;  ///< empty: whatever is served
  infer::SamplingParams sampling;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> max_tokens;
  int n = 1;
  std::vector<std::string> stop;
  bool include_stop = false;
  bool ignore_eos = false;
  bool skip_special = true;
  bool stream = false;
  bool include_usage = false;
  bool usage_each_chunk = false;  ///< vLLM's continuous_usage_stats
  std::optional<bool> add_special;
  std::uint64_t cache_salt = 0;
  Constraint constraint;
  std::vector<std::string> ignored;  ///< parameters that nobody here knows
};

/// The rows that both endpoints share.
std::span<const Field<GenerateFields>> generate_fields();

/// Sets the request's constraint. Error: the request has one already.
base::Status set_constraint(GenerateFields& request, Constraint constraint);

/// {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": ...}}
base::Status store_response_format(GenerateFields& request, const Value& value);

}  // namespace tw::serve
