// Objects: properties, required, additionalProperties, minProperties, maxProperties.
#include <algorithm>
#include <set>
#include <utility>

#include "base/utf8.h"
#include "text/json_schema_compiler.h"

namespace tw::text {

using base::Code;
using base::OrderedJson;
using base::Result;

namespace {

constexpr std::size_t kMaxProperties = 800;   // bounded by GrammarLimits::depth
constexpr std::int64_t kMaxCounted = 10'000;  // minProperties, maxProperties
constexpr std::int64_t kMaxPlaces = 200'000;  // properties times counts

/// All strings but these names, over code points.
Result<Automaton> all_but(GrammarBuilder& builder, const std::vector<std::string>& names) {
  std::vector<ExprId> choices;
  for (const std::string& name : names) {
    std::vector<ExprId> letters;
    for (std::size_t pos = 0; pos < name.size();) {
      const char32_t c = base::decode_utf8(name, pos);
      letters.push_back(builder.chars(CharSet({{c, c}})));
    }
    choices.push_back(builder.seq(std::move(letters)));
  }
  TW_ASSIGN_OR_RETURN(const Automaton dfa, builder.code_point_automaton(builder.alt(std::move(choices))));
  return complement(dfa, kLastCodePoint);
}

/// The members of an object in a row: which properties are still to come, and how many members there are
/// already.
class MemberList {
 public:
  MemberList(GrammarBuilder& builder, JsonText& text, std::int64_t min, std::int64_t max)
      : b_(builder), text_(text), min_(min), max_(max), cap_(std::max<std::int64_t>({min, max, 1})) {}

  void add(ExprId pair, bool required) { members_.push_back({pair, required}); }
  void set_further(ExprId pair) { further_ = pair; }
  std::int64_t places() const { return (cap_ + 1) * static_cast<std::int64_t>(members_.size() + 1); }

  /// Built from the last property to the first, so that all continuations are shared.
  ExprId make() {
    std::vector<ExprId> next(static_cast<std::size_t>(cap_) + 1), now(next.size());
    for (std::int64_t n = 0; n <= cap_; ++n) next[static_cast<std::size_t>(n)] = tail(n);
    for (std::size_t i = members_.size(); i-- > 0;) {
      for (std::int64_t n = 0; n <= cap_; ++n) {
        const auto after = static_cast<std::size_t>(std::min(n + 1, cap_));
        ExprId with = b_.never();
        if (max_ < 0 || n < max_) {
          with = b_.seq({n == 0 ? b_.empty() : text_.comma(), members_[i].pair, next[after]});
        }
        now[static_cast<std::size_t>(n)] =
            members_[i].required ? with : b_.alt({with, next[static_cast<std::size_t>(n)]});
      }
      std::swap(next, now);
    }
    return next[0];
  }

 private:
  struct Member {
    ExprId pair;
    bool required;
  };

  /// What may follow the declared properties when there are n members.
  ExprId tail(std::int64_t n) {
    const auto least = static_cast<std::int32_t>(std::max<std::int64_t>(min_ - n, 0));
    const auto most = max_ < 0 ? std::int32_t{-1} : static_cast<std::int32_t>(max_ - n);
    if (max_ >= 0 && most < 0) return b_.never();
    if (further_ < 0 || most == 0) return least == 0 ? b_.empty() : b_.never();
    const ExprId one_more = b_.seq({text_.comma(), further_});
    if (n > 0) return b_.repeat(one_more, least, most);
    const ExprId some =
        b_.seq({further_, b_.repeat(one_more, std::max(least - 1, 0), most < 0 ? -1 : most - 1)});
    return least == 0 ? b_.optional(some) : some;
  }

  GrammarBuilder& b_;
  JsonText& text_;
  const std::int64_t min_, max_, cap_;
  std::vector<Member> members_;
  ExprId further_ = -1;
};

}  // namespace

/// All names of properties, in the order of the document, then those that are only required.
Result<std::vector<std::string>> SchemaCompiler::property_names(const Goal& parts,
                                                                std::vector<std::string>& required) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const SchemaPart& part : parts) {
    const OrderedJson* properties = find_keyword(part, "properties");
    if (properties == nullptr) continue;
    if (!properties->is_object())
      return schema_error(Code::kInvalidArgument, part, "properties", "must be an object");
    for (const auto& [name, schema] : properties->items()) {
      if (seen.insert(name).second) names.push_back(name);
    }
  }
  for (const SchemaPart& part : parts) {
    const OrderedJson* list = find_keyword(part, "required");
    if (list == nullptr) continue;
    if (!list->is_array())
      return schema_error(Code::kInvalidArgument, part, "required", "must be an array of strings");
    for (const OrderedJson& name : *list) {
      if (!name.is_string())
        return schema_error(Code::kInvalidArgument, part, "required", "must be an array of strings");
      required.push_back(name.get<std::string>());
      if (seen.insert(required.back()).second) names.push_back(required.back());
    }
  }
  if (names.size() > kMaxProperties) {
    return schema_error(Code::kResourceExhausted, parts[0], "properties",
                        fmt::format("more than {} properties cannot be enforced: use fewer", kMaxProperties));
  }
  return names;
}

/// What the value of a property must satisfy; false if it must not be there.
Result<bool> SchemaCompiler::property_goal(const Goal& parts, const std::string& name, Goal& goal) {
  for (const SchemaPart& part : parts) {
    const OrderedJson* properties = find_keyword(part, "properties");
    if (properties != nullptr && properties->contains(name)) {
      goal.push_back(sub_part(part, "properties", name, (*properties)[name]));
    } else if (const OrderedJson* further = find_keyword(part, "additionalProperties")) {
      goal.push_back(sub_part(part, "additionalProperties", *further));
    }
  }
  return std::none_of(goal.begin(), goal.end(), [](const SchemaPart& part) { return *part.schema == false; });
}

Result<SchemaCompiler::ObjectShape> SchemaCompiler::object_shape(const Goal& parts) {
  ObjectShape shape;
  std::vector<std::string> required;
  TW_ASSIGN_OR_RETURN(const std::vector<std::string> names, property_names(parts, required));
  const std::set<std::string> needed(required.begin(), required.end());
  for (const std::string& name : names) {
    Property property{name, {}, needed.contains(name)};
    TW_ASSIGN_OR_RETURN(const bool possible, property_goal(parts, name, property.goal));
    // An impossible property is kept when required: its value `false` makes the whole object impossible.
    if (possible || property.required) shape.properties.push_back(std::move(property));
  }
  bool says_further = false, has_properties = false;
  for (const SchemaPart& part : parts) {
    has_properties |= find_keyword(part, "properties") != nullptr;
    const OrderedJson* further = find_keyword(part, "additionalProperties");
    if (further == nullptr) continue;
    says_further = true;
    shape.further.push_back(sub_part(part, "additionalProperties", *further));
    if (*further == false) shape.open = false;
  }
  if (has_properties && !says_further) shape.open = false;
  TW_ASSIGN_OR_RETURN(const auto min, count_keyword(parts, "minProperties", true));
  TW_ASSIGN_OR_RETURN(const auto max, count_keyword(parts, "maxProperties", false));
  shape.min = min.value_or(0);
  // A maximum that cannot be passed needs no counting.
  const auto most = static_cast<std::int64_t>(shape.properties.size());
  if (max && (shape.open || *max < most)) shape.max = *max;
  return shape;
}

/// A property that is not declared: `"key": value`.
Result<ExprId> SchemaCompiler::further_pair(const ObjectShape& shape) {
  TW_ASSIGN_OR_RETURN(const ExprId value_expr, value(shape.further));
  if (shape.properties.empty()) return b_.seq({text_.string(), text_.colon(), value_expr});
  std::vector<std::string> names;
  names.reserve(shape.properties.size());
  for (const Property& property : shape.properties) names.push_back(property.name);
  TW_ASSIGN_OR_RETURN(Automaton keys, all_but(b_, names));
  const ExprId quote = b_.bytes("\"");
  const ExprId key = b_.automaton(std::make_shared<const Automaton>(std::move(keys)), true);
  return b_.seq({quote, key, quote, text_.colon(), value_expr});
}

Result<ExprId> SchemaCompiler::object_value(const Goal& parts) {
  TW_ASSIGN_OR_RETURN(const ObjectShape shape, object_shape(parts));
  if (std::max(shape.min, shape.max) > kMaxCounted) {
    return schema_error(Code::kUnsupported, parts[0],
                        shape.min > kMaxCounted ? "minProperties" : "maxProperties",
                        fmt::format("counts above {} cannot be enforced: use a smaller one", kMaxCounted));
  }
  if (shape.max >= 0 && shape.min > shape.max) return b_.never();
  MemberList members(b_, text_, shape.min, shape.max);
  for (const Property& property : shape.properties) {
    TW_ASSIGN_OR_RETURN(const ExprId expr, value(property.goal));
    members.add(b_.seq({text_.quoted(property.name), text_.colon(), expr}), property.required);
  }
  if (shape.open) {
    TW_ASSIGN_OR_RETURN(const ExprId pair, further_pair(shape));
    members.set_further(pair);
  }
  if (members.places() > kMaxPlaces) {
    return schema_error(Code::kResourceExhausted, parts[0], "properties",
                        "too many properties to count: remove minProperties and maxProperties");
  }
  return b_.seq({b_.bytes("{"), text_.space(), members.make(), text_.space(), b_.bytes("}")});
}

}  // namespace tw::text
