// What a conjunction of schemas says about types, values and counts.
#include <algorithm>
#include <utility>

#include "text/json_schema_parts.h"

namespace tw::text {

using base::Code;
using base::OrderedJson;
using base::Result;

namespace {

Result<std::uint32_t> type_bits(const SchemaPart& part, const OrderedJson& name) {
  static constexpr std::pair<std::string_view, std::uint32_t> kNames[] = {
      {"null", kNullBit},
      {"boolean", kBooleanBit},
      {"object", kObjectBit},
      {"array", kArrayBit},
      {"string", kStringBit},
      {"integer", kIntegerBit},
      {"number", kIntegerBit | kFractionBit}};
  for (const auto& [known, bits] : kNames) {
    if (name.is_string() && name.get_ref<const std::string&>() == known) return bits;
  }
  return schema_error(Code::kInvalidArgument, part, "type",
                      fmt::format("unknown type {}", base::dump_json(name)));
}

Result<std::uint32_t> types_of_part(const SchemaPart& part) {
  const OrderedJson* type = find_keyword(part, "type");
  if (type == nullptr) return std::uint32_t{kAllBits};
  std::uint32_t bits = 0;
  if (type->is_array()) {
    for (const OrderedJson& name : *type) {
      TW_ASSIGN_OR_RETURN(const std::uint32_t more, type_bits(part, name));
      bits |= more;
    }
  } else {
    TW_ASSIGN_OR_RETURN(bits, type_bits(part, *type));
  }
  if (const OrderedJson* nullable = find_keyword(part, "nullable");
      nullable != nullptr && *nullable == true) {
    bits |= kNullBit;
  }
  return bits;
}

/// Equal as JSON: the order of members does not count (OrderedJson's own == minds it).
bool same_value(const OrderedJson& a, const OrderedJson& b) {
  if (!a.is_structured() || !b.is_structured()) return a == b;
  return base::Json(a) == base::Json(b);
}

bool holds(const std::vector<OrderedJson>& values, const OrderedJson& value) {
  return std::any_of(values.begin(), values.end(),
                     [&](const OrderedJson& v) { return same_value(v, value); });
}

Result<std::vector<OrderedJson>> values_of_enum(const SchemaPart& part, const OrderedJson& list) {
  if (!list.is_array()) return schema_error(Code::kInvalidArgument, part, "enum", "must be an array");
  return std::vector<OrderedJson>(list.begin(), list.end());
}

void keep_common(std::optional<std::vector<OrderedJson>>& values, const std::vector<OrderedJson>& other) {
  if (!values) {
    values = other;
    return;
  }
  std::erase_if(*values, [&](const OrderedJson& value) { return !holds(other, value); });
}

/// Whether some property is required by both and has no common value.
Result<bool> differ_in_property(const Goal& a, const Goal& b) {
  const auto requires_key = [](const Goal& goal, const OrderedJson& key) {
    return std::any_of(goal.begin(), goal.end(), [&](const SchemaPart& part) {
      const OrderedJson* list = find_keyword(part, "required");
      return list != nullptr && list->is_array() && std::find(list->begin(), list->end(), key) != list->end();
    });
  };
  const auto schemas_of = [](const Goal& goal, const std::string& key) {
    Goal out;
    for (const SchemaPart& part : goal) {
      const OrderedJson* properties = find_keyword(part, "properties");
      if (properties == nullptr || !properties->is_object()) continue;
      const auto it = properties->find(key);
      if (it != properties->end() && it->is_object()) out.push_back(sub_part(part, "properties", key, *it));
    }
    return out;
  };
  for (const SchemaPart& part : a) {
    const OrderedJson* list = find_keyword(part, "required");
    if (list == nullptr || !list->is_array()) continue;
    for (const OrderedJson& key : *list) {
      if (!key.is_string() || !requires_key(b, key)) continue;
      const Goal x = schemas_of(a, key), y = schemas_of(b, key);
      TW_ASSIGN_OR_RETURN(const auto in_a, allowed_values(x));
      TW_ASSIGN_OR_RETURN(auto in_b, allowed_values(y));
      TW_ASSIGN_OR_RETURN(const std::uint32_t types_a, allowed_types(x));
      TW_ASSIGN_OR_RETURN(const std::uint32_t types_b, allowed_types(y));
      if ((types_a & types_b) == 0) return true;
      if (!in_a || !in_b) continue;
      keep_common(in_b, *in_a);
      if (in_b->empty()) return true;
    }
  }
  return false;
}

}  // namespace

std::uint32_t type_of(const OrderedJson& value) {
  if (value.is_null()) return kNullBit;
  if (value.is_boolean()) return kBooleanBit;
  if (value.is_object()) return kObjectBit;
  if (value.is_array()) return kArrayBit;
  if (value.is_string()) return kStringBit;
  if (!value.is_number_float()) return kIntegerBit;
  const double number = value.get<double>();
  const bool is_whole =
      number >= -9e15 && number <= 9e15 && static_cast<double>(static_cast<std::int64_t>(number)) == number;
  return is_whole || number > 9e15 || number < -9e15 ? kIntegerBit : kFractionBit;
}

Result<std::uint32_t> allowed_types(const Goal& parts) {
  std::uint32_t bits = kAllBits;
  for (const SchemaPart& part : parts) {
    TW_ASSIGN_OR_RETURN(const std::uint32_t more, types_of_part(part));
    bits &= more;
  }
  return bits;
}

Result<std::optional<std::vector<OrderedJson>>> allowed_values(const Goal& parts) {
  std::optional<std::vector<OrderedJson>> values;
  for (const SchemaPart& part : parts) {
    if (const OrderedJson* list = find_keyword(part, "enum")) {
      TW_ASSIGN_OR_RETURN(const std::vector<OrderedJson> listed, values_of_enum(part, *list));
      keep_common(values, listed);
    }
    if (const OrderedJson* value = find_keyword(part, "const")) keep_common(values, {*value});
  }
  return values;
}

Result<std::optional<std::int64_t>> count_keyword(const Goal& parts, std::string_view keyword, bool largest) {
  constexpr double kMost = 1e9;  // every grammar's limits are met before
  std::optional<std::int64_t> found;
  for (const SchemaPart& part : parts) {
    const OrderedJson* value = find_keyword(part, keyword);
    if (value == nullptr) continue;
    const double number = value->is_number() ? value->get<double>() : -1.0;
    if (number < 0 || type_of(*value) != kIntegerBit) {
      return schema_error(Code::kInvalidArgument, part, keyword,
                          "must be a whole number that is not negative");
    }
    const auto count = static_cast<std::int64_t>(std::min(number, kMost));
    if (!found)
      found = count;
    else
      found = largest ? std::max(*found, count) : std::min(*found, count);
  }
  return found;
}

Result<bool> provably_disjoint(const Goal& a, const Goal& b) {
  TW_ASSIGN_OR_RETURN(const std::uint32_t types_a, allowed_types(a));
  TW_ASSIGN_OR_RETURN(const std::uint32_t types_b, allowed_types(b));
  TW_ASSIGN_OR_RETURN(const auto values_a, allowed_values(a));
  TW_ASSIGN_OR_RETURN(const auto values_b, allowed_values(b));
  std::uint32_t common = types_a & types_b;
  if (values_a && values_b) {
    auto both = values_b;
    keep_common(both, *values_a);
    if (both->empty()) return true;
  }
  const auto types_of = [](const std::optional<std::vector<OrderedJson>>& values) {
    std::uint32_t bits = values ? 0U : static_cast<std::uint32_t>(kAllBits);
    if (values) {
      for (const OrderedJson& value : *values) bits |= type_of(value);
    }
    return bits;
  };
  common &= types_of(values_a) & types_of(values_b);
  if (common == kObjectBit) return differ_in_property(a, b);
  return common == 0;
}

}  // namespace tw::text
