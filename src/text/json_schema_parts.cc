#include "text/json_schema_parts.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tw::text {
namespace {

using base::Code;
using base::OrderedJson;
using base::Result;
using base::Status;

constexpr std::size_t kMaxReferences = 64;     // $ref and allOf in a row, without a value in between
constexpr std::size_t kMaxAlternatives = 256;  // of one value, after all combinations of anyOf
constexpr std::size_t kMaxParts = 256;         // schemas that hold for one value

constexpr std::array<std::string_view, 16> kAnnotations = {
    "title",    "description", "default",     "examples",        "example", "$schema",
    "$comment", "deprecated",  "readOnly",    "writeOnly",       "$defs",   "definitions",
    "$id",      "id",          "$vocabulary", "contentMediaType"};
constexpr std::array<std::string_view, 29> kKeywords = {"type",
                                                        "nullable",
                                                        "enum",
                                                        "const",
                                                        "$ref",
                                                        "allOf",
                                                        "anyOf",
                                                        "oneOf",
                                                        "properties",
                                                        "required",
                                                        "items",
                                                        "prefixItems",
                                                        "minItems",
                                                        "maxItems",
                                                        "additionalProperties",
                                                        "pattern",
                                                        "format",
                                                        "minLength",
                                                        "maxLength",
                                                        "minimum",
                                                        "maximum",
                                                        "multipleOf",
                                                        "minProperties",
                                                        "maxProperties",
                                                        "exclusiveMinimum",
                                                        "uniqueItems",
                                                        "exclusiveMaximum",
                                                        "additionalItems",
                                                        "contentEncoding"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

/// Undoes %XX and then ~0 and ~1.
std::string unescaped(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string plain, out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      plain += static_cast<char>(16 * digit(text[i + 1]) + digit(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (plain[i] == '~' && i + 1 < plain.size())
      out += plain[++i] == '1' ? '/' : '~';
    else
      out += plain[i];
  }
  return out;
}

const OrderedJson* child(const OrderedJson& parent, const std::string& key) {
  if (parent.is_object()) {
    const auto it = parent.find(key);
    return it == parent.end() ? nullptr : &*it;
  }
  if (!parent.is_array() || key.empty() || key.size() > 6) return nullptr;
  std::size_t index = 0;
  for (const char c : key) {
    if (c < '0' || c > '9') return nullptr;
    index = 10 * index + static_cast<std::size_t>(c - '0');
  }
  return index < parent.size() ? &parent[index] : nullptr;
}

}  // namespace

const OrderedJson* find_keyword(const SchemaPart& part, std::string_view keyword) {
  const auto it = part.schema->find(keyword);
  return it == part.schema->end() ? nullptr : &*it;
}

SchemaPart sub_part(const SchemaPart& part, std::string_view keyword, const OrderedJson& schema) {
  return {&schema, part.pointer + "/" + escaped(keyword)};
}

SchemaPart sub_part(const SchemaPart& part, std::string_view keyword, std::string_view key,
                    const OrderedJson& schema) {
  return {&schema, part.pointer + "/" + escaped(keyword) + "/" + escaped(key)};
}

base::Error schema_error(Code code, const SchemaPart& part, std::string_view keyword, std::string message) {
  std::string pointer = part.pointer;
  if (!keyword.empty()) pointer += "/" + escaped(keyword);
  return {code, std::move(message), std::move(pointer)};
}

Status SchemaDocument::check_keywords(const SchemaPart& part) {
  if (!checked_.insert(part.schema).second) return base::Ok{};
  for (const auto& [key, value] : part.schema->items()) {
    if ((key == "$id" || key == "id") && part.schema != &root_) {
      return schema_error(Code::kUnsupported, part, key, "an embedded '$id' is not supported: remove it");
    }
    if (contains(kAnnotations, key)) continue;
    if (!contains(kKeywords, key) || key == "contentEncoding") {
      return schema_error(Code::kUnsupported, part, key,
                          fmt::format("the keyword '{}' cannot be enforced: remove it", key));
    }
    if (key == "uniqueItems" && value != false) {
      return schema_error(Code::kUnsupported, part, key, "'uniqueItems' cannot be enforced: remove it");
    }
  }
  return base::Ok{};
}

Result<SchemaPart> SchemaDocument::resolve(const SchemaPart& part, const std::string& reference) const {
  const auto fail = [&](std::string_view reason) {
    return schema_error(Code::kUnsupported, part, "$ref",
                        fmt::format("the reference '{}' {}", reference, reason));
  };
  if (reference.empty() || reference[0] != '#')
    return fail("leaves the document: put the schema under '#/$defs'");
  if (reference.size() > 1 && reference[1] != '/') return fail("is not a JSON pointer: write '#/$defs/...'");
  const OrderedJson* at = &root_;
  for (std::size_t begin = 2; begin <= reference.size() && reference.size() > 1;) {
    const std::size_t end = std::min(reference.find('/', begin), reference.size());
    at = child(*at, unescaped(std::string_view(reference).substr(begin, end - begin)));
    if (at == nullptr) {
      return schema_error(Code::kInvalidArgument, part, "$ref",
                          fmt::format("the reference '{}' leads nowhere: check its spelling", reference));
    }
    begin = end + 1;
  }
  return SchemaPart{at, name_ + reference.substr(1)};
}

Status SchemaDocument::flatten(const SchemaPart& part, FlatGoal& out) {
  std::vector<const OrderedJson*> path;
  return flatten(part, out, path);
}

Status SchemaDocument::flatten(const SchemaPart& part, FlatGoal& out, std::vector<const OrderedJson*>& path) {
  const OrderedJson& schema = *part.schema;
  if (schema.is_boolean()) {
    out.never |= !schema.get<bool>();
    return base::Ok{};
  }
  if (!schema.is_object()) {
    return schema_error(Code::kInvalidArgument, part, "", "a schema must be an object or a boolean");
  }
  if (std::find(path.begin(), path.end(), part.schema) != path.end()) {
    return schema_error(Code::kInvalidArgument, part, "",
                        "the schema refers to itself without a value in between");
  }
  if (path.size() > kMaxReferences || out.parts.size() > kMaxParts) {
    return schema_error(Code::kResourceExhausted, part, "", "too many schemas are combined here");
  }
  const auto is_known = [&](const SchemaPart& known) { return known.schema == part.schema; };
  if (std::any_of(out.parts.begin(), out.parts.end(), is_known)) return base::Ok{};
  TW_RETURN_IF_ERROR(check_keywords(part));
  out.parts.push_back(part);
  path.push_back(part.schema);
  if (const OrderedJson* reference = find_keyword(part, "$ref")) {
    if (!reference->is_string())
      return schema_error(Code::kInvalidArgument, part, "$ref", "must be a string");
    TW_ASSIGN_OR_RETURN(const SchemaPart target, resolve(part, reference->get_ref<const std::string&>()));
    TW_RETURN_IF_ERROR(flatten(target, out, path));
  }
  for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
    const OrderedJson* list = find_keyword(part, keyword);
    if (list == nullptr) continue;
    if (!list->is_array() || list->empty()) {
      return schema_error(Code::kInvalidArgument, part, keyword, "must be an array with at least one schema");
    }
    if (keyword != "allOf") {
      out.choices.push_back({sub_part(part, keyword, *list), keyword == "oneOf"});
      continue;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
      TW_RETURN_IF_ERROR(flatten(sub_part(part, keyword, std::to_string(i), (*list)[i]), out, path));
    }
  }
  path.pop_back();
  return base::Ok{};
}

/// Replaces the last choice by each of its options.
Status SchemaDocument::take_choice(const FlatGoal& goal, std::vector<FlatGoal>& out) {
  FlatGoal rest = goal;
  const SchemaChoice choice = rest.choices.back();
  rest.choices.pop_back();
  if (choice.options.schema->size() > kMaxAlternatives) {
    return base::Error{Code::kResourceExhausted, "has too many branches: use fewer", choice.options.pointer};
  }
  std::vector<FlatGoal> options;
  for (std::size_t i = 0; i < choice.options.schema->size(); ++i) {
    FlatGoal option = rest;
    const SchemaPart part{&(*choice.options.schema)[i], choice.options.pointer + "/" + std::to_string(i)};
    TW_RETURN_IF_ERROR(flatten(part, option));
    if (!option.never) options.push_back(std::move(option));
  }
  for (std::size_t i = 0; choice.exclusive && i < options.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      TW_ASSIGN_OR_RETURN(const bool disjoint, provably_disjoint(options[i].parts, options[j].parts));
      if (disjoint) continue;
      return base::Error{
          Code::kUnsupported,
          "the branches of 'oneOf' are not provably disjoint: use 'anyOf', or give each a required "
          "property with another 'const'",
          choice.options.pointer};
    }
  }
  for (FlatGoal& option : options) out.push_back(std::move(option));
  return base::Ok{};
}

Result<std::vector<FlatGoal>> SchemaDocument::alternatives(const Goal& goal) {
  FlatGoal whole;
  for (const SchemaPart& part : goal) TW_RETURN_IF_ERROR(flatten(part, whole));
  std::vector<FlatGoal> todo, done;
  if (!whole.never) todo.push_back(std::move(whole));
  while (!todo.empty()) {
    const FlatGoal next = std::move(todo.back());
    todo.pop_back();
    if (next.choices.empty()) {
      done.push_back(next);
    } else {
      const std::size_t before = todo.size();
      TW_RETURN_IF_ERROR(take_choice(next, todo));
      std::reverse(todo.begin() + static_cast<std::ptrdiff_t>(before), todo.end());
    }
    if (todo.size() + done.size() > kMaxAlternatives) {
      return schema_error(Code::kResourceExhausted, goal[0], "",
                          "too many combinations of anyOf and oneOf: use fewer");
    }
  }
  return done;
}

}  // namespace tw::text
