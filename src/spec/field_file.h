// Small JSON files of named fields: read into a struct through its field list (visit), and written from it.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "spec/measure.h"

namespace tw::spec {

/// Sets one field from a JSON value or, for flags, from text. The error says what would be accepted.
base::Status set_field(std::string& field, const base::Json& value);
base::Status set_field(bool& field, const base::Json& value);
base::Status set_field(int& field, const base::Json& value);
base::Status set_field(std::int64_t& field, const base::Json& value);
base::Status set_field(double& field, const base::Json& value);
base::Status set_measure(Dimension dimension, double& field, const base::Json& value);
template <Dimension D>
base::Status set_field(Measure<D>& field, const base::Json& value) {
  field.given = true;
  return set_measure(D, field.value, value);
}

/// What a flag's text means as JSON: a number or true and false where it reads so, else a string.
base::Json value_of_text(std::string_view text);

/// The line, from 1, where a key of the outermost object stands, or the first one `depth` brackets deep;
/// 0: nowhere.
int line_of_key(std::string_view json, std::string_view key, int depth = 1);

/// The document, which must be an object; errors tell the line.
base::Result<base::Json> parse_field_file(std::string_view text, const std::string& where);

/// Sets the fields that `text` names. An unknown one is an error with its line and the names there are.
template <typename Config>
base::Status read_fields(std::string_view text, const std::string& where, Config& config) {
  TW_ASSIGN_OR_RETURN(const base::Json document, parse_field_file(text, where));
  std::string names;
  std::size_t known = 0;
  base::Status status = base::Ok{};
  Config::visit(config, [&](const char* name, auto& field, const char*) {
    names += (names.empty() ? "" : ", ") + std::string(name);
    const auto it = document.find(name);
    if (it == document.end()) return;
    ++known;
    auto set = set_field(field, *it);
    if (set.ok() || !status.ok()) return;
    status = base::error(base::Code::kInvalidArgument, "\"{}\": {}", name, set.error().message);
    status = base::Error{base::Code::kInvalidArgument, status.error().message,
                         fmt::format("{}:{}", where, line_of_key(text, name))};
  });
  TW_RETURN_IF_ERROR(status);
  if (known == document.size()) return base::Ok{};
  for (const auto& [key, value] : document.items()) {
    bool found = false;
    Config::visit(config, [&](const char* name, auto&, const char*) { found = found || key == name; });
    if (!found)
      return base::Error{base::Code::kInvalidArgument,
                         fmt::format("there is no field \"{}\"; the fields are {}", key, names),
                         fmt::format("{}:{}", where, line_of_key(text, key))};
  }
  return base::Ok{};
}

/// Sets one field by name from a flag's text. REQUIRES: there is such a field.
template <typename Config>
base::Status set_by_name(Config& config, std::string_view wanted, std::string_view text) {
  base::Status status = base::Ok{};
  Config::visit(config, [&](const char* name, auto& field, const char*) {
    if (wanted != name) return;
    using Field = std::remove_reference_t<decltype(field)>;
    const base::Json value =
        std::is_same_v<Field, std::string> ? base::Json(std::string(text)) : value_of_text(text);
    if (auto set = set_field(field, value); !set.ok())
      status = base::error(base::Code::kInvalidArgument, "--{}: {}", name, set.error().message);
  });
  return status;
}

}  // namespace tw::spec
