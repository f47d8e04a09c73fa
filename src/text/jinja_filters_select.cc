// Filters that look at each item: map, select, sort, unique, groupby, sum, min, max.
#include <algorithm>
#include <set>

#include "text/jinja_filter_tables.h"
#include "text/jinja_getter.h"
#include "text/jinja_ops.h"
#include "text/jinja_sort.h"

namespace tw::text::jinja {
namespace {

using base::Code;
using base::Error;
using base::Result;

Error bad_name(std::string_view what, const Value& name) {
  return template_error("No {} named '{}'.", what,
                        name.is_string() ? name.text() : std::string(name.type_name()));
}

/// A generator of what `each` gives for the items. Like Python's, it fails only when it is walked to the
/// failure, except for limits, which hold at once.
template <typename Each>
Result<Value> lazily(Runtime& runtime, const Value& value, Each each) {
  Result<std::vector<Value>> items = iterate(runtime, value);
  std::vector<Value> out;
  if (!items.ok()) {
    if (items.error().code == Code::kResourceExhausted) return items.error();
    return runtime.generator({}, items.error());
  }
  for (const Value& item : *items) {
    TW_RETURN_IF_ERROR(runtime.step());
    base::Status done = each(item, out);
    if (done.ok()) continue;
    if (done.error().code == Code::kResourceExhausted) return done.error();
    return runtime.generator(std::move(out), done.error());
  }
  return runtime.generator(std::move(out));
}

Value take_named(Args& args, std::string_view name) {
  const auto at =
      std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == name; });
  if (at == args.named.end()) return Value::none();
  Value value = std::move(at->second);
  args.named.erase(at);
  return value;
}

Result<Value> map_attribute(Runtime& runtime, const Value& value, Args args) {
  const Value attribute = take_named(args, "attribute");
  const Value fallback = take_named(args, "default");
  if (!args.named.empty())
    return runtime.generator({}, template_error("Unexpected keyword argument '{}'", args.named[0].first));
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(attribute, fallback));
  return lazily(runtime, value, [&](const Value& item, std::vector<Value>& out) -> base::Status {
    TW_ASSIGN_OR_RETURN(Value got, getter.get(runtime, item));
    out.push_back(std::move(got));
    return base::Ok{};
  });
}

Result<Value> map(Runtime& runtime, const Value& value, const Args& args) {
  if (!truthy(value)) return runtime.generator({});
  const bool by_attribute =
      std::any_of(args.named.begin(), args.named.end(), [](const auto& a) { return a.first == "attribute"; });
  if (args.positional.empty() && by_attribute) return map_attribute(runtime, value, args);
  if (args.positional.empty()) return runtime.generator({}, template_error("map requires a filter argument"));
  const Value& name = args.positional[0];
  const Filter filter = name.is_string() ? find_filter(name.text()) : nullptr;
  const Args rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
  return lazily(runtime, value, [&](const Value& item, std::vector<Value>& out) -> base::Status {
    if (filter == nullptr) return bad_name("filter", name);
    TW_ASSIGN_OR_RETURN(Value got, filter(runtime, item, rest));
    out.push_back(std::move(got));
    return base::Ok{};
  });
}

/// select, reject and, with `by_attribute`, selectattr and rejectattr.
Result<Value> choose(Runtime& runtime, const Value& value, const Args& args, bool keep, bool by_attribute) {
  if (!truthy(value)) return runtime.generator({});
  const std::size_t skip = by_attribute ? 1 : 0;
  if (by_attribute && args.positional.empty()) {
    return runtime.generator({}, template_error("Missing parameter for attribute name"));
  }
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(by_attribute ? args.positional[0] : Value::none()));
  const bool has_test = args.positional.size() > skip;
  const Value name = has_test ? args.positional[skip] : Value::none();
  const Test test = name.is_string() ? find_test(name.text()) : nullptr;
  Args rest;
  if (has_test)
    rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(skip) + 1,
                           args.positional.end());
  rest.named = args.named;
  return lazily(runtime, value, [&](const Value& item, std::vector<Value>& out) -> base::Status {
    TW_ASSIGN_OR_RETURN(const Value looked_at, getter.get(runtime, item));
    if (has_test && test == nullptr) return bad_name("test", name);
    TW_ASSIGN_OR_RETURN(const bool yes,
                        has_test ? test(runtime, looked_at, rest) : Result<bool>(truthy(looked_at)));
    if (yes == keep) out.push_back(item);
    return base::Ok{};
  });
}

template <bool kKeep, bool kByAttribute>
Result<Value> choose_filter(Runtime& runtime, const Value& value, const Args& args) {
  return choose(runtime, value, args, kKeep, kByAttribute);
}

struct Keyed {
  Value key;
  Value item;
};

/// Stable, by Python's order of the keys.
base::Status sort_keyed(Runtime& runtime, std::vector<Keyed>& items, bool reverse) {
  return merge_sort(items, [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(runtime, b.key, a.key) : less(runtime, a.key, b.key);
  });
}

Result<std::vector<Keyed>> keyed(Runtime& runtime, const Value& value, const Getter& getter, bool fold) {
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  std::vector<Keyed> out;
  for (const Value& item : items) {
    TW_ASSIGN_OR_RETURN(const Value key, getter.get(runtime, item));
    out.push_back({fold ? ignore_case(runtime, key) : key, item});
  }
  TW_RETURN_IF_ERROR(runtime.step(out.size()));
  return out;
}

Result<Value> items_of(Runtime& runtime, std::vector<Keyed> entries) {
  std::vector<Value> out;
  out.reserve(entries.size());
  for (Keyed& entry : entries) out.push_back(std::move(entry.item));
  return runtime.list(std::move(out));
}

Result<Value> sort(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("sort", args, {"reverse", "case_sensitive", "attribute"}, 0));
  TW_ASSIGN_OR_RETURN(const std::vector<Getter> getters,
                      Getter::make_several(bound[2] == nullptr ? Value::none() : *bound[2]));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  std::vector<Keyed> entries;
  for (const Value& item : items) {
    std::vector<Value> keys;
    for (const Getter& getter : getters) {
      TW_ASSIGN_OR_RETURN(const Value key, getter.get(runtime, item));
      keys.push_back(bound.flag(1, false) ? key : ignore_case(runtime, key));
    }
    TW_ASSIGN_OR_RETURN(Value key, runtime.list(std::move(keys)));
    entries.push_back({std::move(key), item});
  }
  TW_RETURN_IF_ERROR(sort_keyed(runtime, entries, bound.flag(0, false)));
  return items_of(runtime, std::move(entries));
}

Result<Value> dictsort(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("dictsort", args, {"case_sensitive", "by", "reverse"}, 0));
  TW_ASSIGN_OR_RETURN(const std::string by, bound.text(1, "key"));
  if (by != "key" && by != "value") return template_error("You can only sort by either \"key\" or \"value\"");
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is(Kind::kDict))
    return template_error("'{}' object has no attribute 'items'", value.type_name());
  std::vector<Keyed> entries;
  for (const auto& [key, item] : value.as<Dict>().items.all()) {
    const Value& sorted_by = by == "key" ? key : item;
    TW_ASSIGN_OR_RETURN(Value pair, runtime.tuple({key, item}));
    entries.push_back({bound.flag(0, false) ? sorted_by : ignore_case(runtime, sorted_by), std::move(pair)});
  }
  TW_RETURN_IF_ERROR(sort_keyed(runtime, entries, bound.flag(2, false)));
  return items_of(runtime, std::move(entries));
}

Result<Value> unique(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("unique", args, {"case_sensitive", "attribute"}, 0));
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(bound[1] == nullptr ? Value::none() : *bound[1]));
  const bool fold = !bound.flag(0, false);
  std::set<Value, KeyLess> seen;
  return lazily(runtime, value, [&](const Value& item, std::vector<Value>& out) -> base::Status {
    TW_ASSIGN_OR_RETURN(Value key, getter.get(runtime, item));
    if (fold) key = ignore_case(runtime, key);
    if (!is_hashable(key)) return template_error("unhashable type: '{}'", key.type_name());
    if (seen.insert(std::move(key)).second) out.push_back(item);
    return base::Ok{};
  });
}

Result<Value> groupby(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound,
                      bind("groupby", args, {"attribute", "default", "case_sensitive"}, 1));
  TW_ASSIGN_OR_RETURN(const Getter getter,
                      Getter::make(*bound[0], bound[1] == nullptr ? Value::none() : *bound[1]));
  TW_ASSIGN_OR_RETURN(std::vector<Keyed> entries, keyed(runtime, value, getter, !bound.flag(2, false)));
  TW_RETURN_IF_ERROR(sort_keyed(runtime, entries, false));
  std::vector<Value> out;
  for (std::size_t i = 0; i < entries.size();) {
    std::vector<Value> members;
    const std::size_t start = i;
    for (; i < entries.size(); ++i) {
      TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, entries[i].key, entries[start].key));
      if (!same) break;
      members.push_back(entries[i].item);
    }
    if (members.empty()) members.push_back(entries[i++].item);  // NaN is not even equal to itself
    TW_ASSIGN_OR_RETURN(Value grouper, getter.get(runtime, members.front()));
    TW_ASSIGN_OR_RETURN(Value list, runtime.list(std::move(members)));
    TW_ASSIGN_OR_RETURN(Value group, runtime.group(std::move(grouper), std::move(list)));
    out.push_back(std::move(group));
  }
  return runtime.list(std::move(out));
}

Result<Value> sum(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("sum", args, {"attribute", "start"}, 0));
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(bound[0] == nullptr ? Value::none() : *bound[0]));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  Value total = bound[1] == nullptr ? Value::integer(0) : *bound[1];
  if (total.is_string()) return template_error("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : items) {
    TW_ASSIGN_OR_RETURN(const Value part, getter.get(runtime, item));
    TW_ASSIGN_OR_RETURN(total, binary(runtime, Op::kAdd, total, part));
  }
  return total;
}

template <bool kMax>
Result<Value> extreme(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound,
                      bind(kMax ? "max" : "min", args, {"case_sensitive", "attribute"}, 0));
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(bound[1] == nullptr ? Value::none() : *bound[1]));
  TW_ASSIGN_OR_RETURN(const std::vector<Keyed> entries, keyed(runtime, value, getter, !bound.flag(0, false)));
  if (entries.empty()) return runtime.undefined("No aggregated item, sequence was empty.");
  std::size_t best = 0;
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const Value& a = entries[kMax ? best : i].key;
    const Value& b = entries[kMax ? i : best].key;
    TW_ASSIGN_OR_RETURN(const bool better, less(runtime, a, b));
    if (better) best = i;
  }
  return entries[best].item;
}

constexpr NamedFilter kFilters[] = {{"dictsort", dictsort},
                                    {"groupby", groupby},
                                    {"map", map},
                                    {"max", extreme<true>},
                                    {"min", extreme<false>},
                                    {"reject", choose_filter<false, false>},
                                    {"rejectattr", choose_filter<false, true>},
                                    {"select", choose_filter<true, false>},
                                    {"selectattr", choose_filter<true, true>},
                                    {"sort", sort},
                                    {"sum", sum},
                                    {"unique", unique}};

}  // namespace

std::span<const NamedFilter> select_filters() {
  return kFilters;
}

}  // namespace tw::text::jinja
