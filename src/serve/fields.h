// Request bodies by table: one row per field says its type and range; the same rows make the checks, the
// error messages and the table of docs/guides/serve.md.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::serve {

/// Keys keep their order: schemas and templates depend on it.
using Value = base::OrderedJson;

/// Members of one object. Ordered objects are searched from front to back, so a hostile one must stay small.
inline constexpr std::size_t kMaxMembers = 1024;

/// Parses a body: an object nested at most 64 deep. Errors: kCorrupt with the byte offset of the fault,
/// kInvalidArgument when it is no object or one of its objects has more than kMaxMembers members.
base::Result<Value> parse_body(std::string_view text);

enum class FieldType { kBool, kInteger, kNumber, kString, kArray, kObject, kAny };

struct FieldRule {
  std::string_view name;
  FieldType type = FieldType::kAny;
  double low =
      -std::numeric_limits<double>::infinity();  ///< value of numbers, size of strings (bytes) and arrays
  double high = std::numeric_limits<double>::infinity();
  std::string_view help;  ///< for the guide, and for kAny in error messages: what is allowed
};

/// "a number from 0 to 2", "a string", "a list with 1 to 128 entries", or the rule's help for kAny.
std::string describe(const FieldRule& rule);

/// Checks type and range. The error names the field, what it must be and what it is.
base::Status check_field(const FieldRule& rule, const Value& value);

/// A short form of a value for messages.
std::string preview(const Value& value);

/// One row: `store` puts a value that obeys the rule into the request. A null value counts as absent.
template <typename Request>
struct Field {
  FieldRule rule;
  base::Status (*store)(Request& request, const Value& value);
};

/// The row of that name, or nullptr.
template <typename Request>
const Field<Request>* find_field(std::span<const Field<Request>> table, std::string_view name) {
  for (const Field<Request>& field : table) {
    if (field.rule.name == name) return &field;
  }
  return nullptr;
}

template <typename Request, typename Target>
base::Result<bool> store_field(std::span<const Field<Request>> table, const std::string& name,
                               const Value& value, Target& request) {
  const Field<Request>* field = find_field(table, name);
  if (field == nullptr) return false;
  if (value.is_null()) return true;
  TW_RETURN_IF_ERROR(check_field(field->rule, value));
  TW_RETURN_IF_ERROR(field->store(request, value));
  return true;
}

/// Walks the body by the endpoint's own table and the one it shares with others (Request derives from
/// Shared). Names that neither knows are appended to `ignored`.
template <typename Request, typename Shared>
base::Status read_fields(const Value& body, std::span<const Field<Request>> own,
                         std::span<const Field<Shared>> shared, Request& request,
                         std::vector<std::string>& ignored) {
  for (const auto& [name, value] : body.items()) {
    TW_ASSIGN_OR_RETURN(const bool is_own, store_field(own, name, value, request));
    if (is_own) continue;
    TW_ASSIGN_OR_RETURN(const bool is_shared, store_field(shared, name, value, request));
    if (!is_shared) ignored.push_back(name);
  }
  return base::Ok{};
}

/// The value of X-Tokenworks-Ignored: names joined by ", ", cut to a sane length, with odd characters
/// replaced.
std::string ignored_header(const std::vector<std::string>& names);

}  // namespace tw::serve
