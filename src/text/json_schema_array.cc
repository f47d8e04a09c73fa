// Arrays: items, prefixItems, minItems, maxItems (and the array form of items of older drafts).
#include <algorithm>
#include <utility>

#include "text/json_schema_compiler.h"

namespace tw::text {

using base::Code;
using base::OrderedJson;
using base::Result;

namespace {

constexpr std::size_t kMaxPrefix = 500;
constexpr std::int64_t kMaxCounted = 20'000;

/// The schemas of the first items, or null, and the keyword that holds them.
const OrderedJson* prefix_of(const SchemaPart& part, std::string_view& keyword) {
  keyword = "prefixItems";
  const OrderedJson* items = find_keyword(part, "items");
  if (items != nullptr && items->is_array()) keyword = "items";
  const OrderedJson* list = find_keyword(part, keyword);
  return list != nullptr && list->is_array() ? list : nullptr;
}

}  // namespace

/// What the item at a place must satisfy; false if there must be none.
Result<bool> SchemaCompiler::item_goal(const Goal& parts, std::size_t place, Goal& goal) {
  for (const SchemaPart& part : parts) {
    std::string_view keyword;
    const OrderedJson* prefix = prefix_of(part, keyword);
    if (prefix == nullptr && find_keyword(part, "prefixItems") != nullptr) {
      return schema_error(Code::kInvalidArgument, part, "prefixItems", "must be an array of schemas");
    }
    if (prefix != nullptr && place < prefix->size()) {
      goal.push_back(sub_part(part, keyword, std::to_string(place), (*prefix)[place]));
      continue;
    }
    const std::string_view rest = prefix != nullptr && keyword == "items" ? "additionalItems" : "items";
    if (const OrderedJson* schema = find_keyword(part, rest)) goal.push_back(sub_part(part, rest, *schema));
  }
  return std::none_of(goal.begin(), goal.end(), [](const SchemaPart& part) { return *part.schema == false; });
}

/// The schemas by place: those of the prefix, and as the last one that of all further items, unless there are
/// none.
Result<SchemaCompiler::ArrayShape> SchemaCompiler::array_shape(const Goal& parts) {
  TW_ASSIGN_OR_RETURN(const auto min, count_keyword(parts, "minItems", true));
  TW_ASSIGN_OR_RETURN(const auto max, count_keyword(parts, "maxItems", false));
  ArrayShape shape;
  shape.min = min.value_or(0);
  shape.max = max.value_or(-1);
  if (std::max(shape.min, shape.max) > kMaxCounted) {
    return schema_error(Code::kUnsupported, parts[0], shape.min > kMaxCounted ? "minItems" : "maxItems",
                        fmt::format("counts above {} cannot be enforced: use a smaller one", kMaxCounted));
  }
  std::size_t prefix = 0;
  for (const SchemaPart& part : parts) {
    std::string_view keyword;
    if (const OrderedJson* list = prefix_of(part, keyword)) prefix = std::max(prefix, list->size());
  }
  if (prefix > kMaxPrefix) {
    return schema_error(Code::kResourceExhausted, parts[0], "prefixItems", "has too many items");
  }
  for (std::size_t i = 0; i <= prefix; ++i) {
    Goal goal;
    TW_ASSIGN_OR_RETURN(const bool possible, item_goal(parts, i, goal));
    if (!possible) {
      const auto places = static_cast<std::int64_t>(i);
      shape.max = shape.max < 0 ? places : std::min(shape.max, places);
      return shape;
    }
    TW_ASSIGN_OR_RETURN(const ExprId item, value(goal));
    if (i < prefix)
      shape.first.push_back(item);
    else
      shape.further = item;
  }
  return shape;
}

Result<ExprId> SchemaCompiler::array_value(const Goal& parts) {
  TW_ASSIGN_OR_RETURN(const ArrayShape shape, array_shape(parts));
  if (shape.max >= 0 && shape.min > shape.max) return b_.never();
  // From the last item to the first; `list` is what follows the items so far.
  const auto places = static_cast<std::int64_t>(shape.first.size());
  ExprId list = b_.empty();
  if (shape.further >= 0 && (shape.max < 0 || shape.max > places)) {
    const auto least = static_cast<std::int32_t>(std::max<std::int64_t>(shape.min - places, 0));
    const auto most = shape.max < 0 ? std::int32_t{-1} : static_cast<std::int32_t>(shape.max - places);
    const ExprId more = b_.seq({text_.comma(), shape.further});
    if (places > 0) {
      list = b_.repeat(more, least, most);
    } else {
      list = b_.seq({shape.further, b_.repeat(more, std::max(least - 1, 0), most < 0 ? -1 : most - 1)});
      if (least == 0) list = b_.optional(list);
    }
  }
  for (std::int64_t i = places; i-- > 0;) {
    if (shape.max >= 0 && i >= shape.max) continue;
    list = b_.seq({i == 0 ? b_.empty() : text_.comma(), shape.first[static_cast<std::size_t>(i)], list});
    if (i >= shape.min) list = b_.optional(list);
  }
  return b_.seq({b_.bytes("["), text_.space(), list, text_.space(), b_.bytes("]")});
}

}  // namespace tw::text
