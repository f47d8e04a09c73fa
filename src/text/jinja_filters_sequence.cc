// Filters that take sequences apart and put them together.
#include <algorithm>

#include "text/jinja_filter_tables.h"
#include "text/jinja_getter.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;

Result<Value> length(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("length", args, {}, 0));
  const std::optional<std::size_t> size = length_of(value);
  if (!size) return template_error("object of type '{}' has no len()", value.type_name());
  return Value::integer(static_cast<Int>(*size));
}

Result<Value> fallback(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("default", args, {"default_value", "boolean"}, 0));
  if (!value.is_undefined() && (!bound.flag(1, false) || truthy(value))) return value;
  return bound[0] == nullptr ? runtime.string("") : *bound[0];
}

Result<Value> first(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("first", args, {}, 0));
  if (value.is(Kind::kGenerator) && value.as<Generator>().next < value.as<Generator>().items.size()) {
    return value.as<Generator>().items[value.as<Generator>().next++];
  }
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  if (items.empty()) return runtime.undefined("No first item, sequence was empty.");
  return items.front();
}

Result<Value> last(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("last", args, {}, 0));
  if (!length_of(value)) return template_error("'{}' object is not reversible", value.type_name());
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  if (items.empty()) return runtime.undefined("No last item, sequence was empty.");
  return items.back();
}

Result<Value> list(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("list", args, {}, 0));
  TW_ASSIGN_OR_RETURN(std::vector<Value> items, iterate(runtime, value));
  return runtime.list(std::move(items));
}

Result<Value> reverse(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("reverse", args, {}, 0));
  if (value.is_string()) return slice(runtime, value, Value(), Value(), Value::integer(-1));
  TW_ASSIGN_OR_RETURN(std::vector<Value> items, iterate(runtime, value));
  std::reverse(items.begin(), items.end());
  // Python reverses a sequence lazily, but a generator only by making a list of it.
  return value.is(Kind::kGenerator) ? runtime.list(std::move(items)) : runtime.generator(std::move(items));
}

Result<Value> join(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("join", args, {"d", "attribute"}, 0));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, value));
  std::string separator;
  if (bound[0] != nullptr) TW_RETURN_IF_ERROR(append_text(runtime, separator, *bound[0]));
  TW_ASSIGN_OR_RETURN(const Getter getter, Getter::make(bound.given(1) ? *bound[1] : Value::none()));
  std::string out;
  bool is_first = true;
  for (const Value& item : items) {
    TW_RETURN_IF_ERROR(runtime.step(1 + separator.size() / 64));
    TW_RETURN_IF_ERROR(runtime.check_memory(out.size() + separator.size()));
    if (!std::exchange(is_first, false)) out += separator;
    TW_ASSIGN_OR_RETURN(const Value part, getter.get(runtime, item));
    TW_RETURN_IF_ERROR(append_text(runtime, out, part));
  }
  return runtime.string(std::move(out));
}

Result<Value> items(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("items", args, {}, 0));
  if (value.is_undefined()) return runtime.generator({});
  if (!value.is(Kind::kDict))
    return runtime.generator({}, template_error("Can only get item pairs from a mapping."));
  const Value view =
      Value::object(Kind::kView, std::make_shared<View>(&runtime.heap(), value, View::Part::kItems));
  TW_ASSIGN_OR_RETURN(std::vector<Value> pairs, iterate(runtime, view));
  return runtime.generator(std::move(pairs));
}

Result<Value> attr(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("attr", args, {"name"}, 1));
  TW_ASSIGN_OR_RETURN(const std::string name, bound.text(0, ""));
  if (value.is_undefined()) return undefined_error(value);
  std::optional<Value> found = own_attribute(runtime, value, name);
  if (found) return *std::move(found);
  return runtime.undefined("'" + std::string(value.type_name()) + " object' has no attribute '" + name + "'");
}

Result<Value> batch(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("batch", args, {"linecount", "fill_with"}, 1));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> all, iterate(runtime, value));
  TW_ASSIGN_OR_RETURN(const Int wanted, bound.integer(0, 1));
  const auto size = static_cast<std::size_t>(std::clamp<Int>(wanted, 0, INT64_MAX));
  std::vector<Value> out;
  std::vector<Value> row;
  const auto finish_row = [&]() -> base::Status {
    TW_ASSIGN_OR_RETURN(Value made, runtime.list(std::exchange(row, {})));
    out.push_back(std::move(made));
    return base::Ok{};
  };
  for (const Value& item : all) {
    // Python compares for equality only after the first item, so that 0 and 1 differ: 0 gives an empty row
    // first.
    if (row.size() == size) TW_RETURN_IF_ERROR(finish_row());
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound.given(1) && row.size() < size) {
      TW_RETURN_IF_ERROR(runtime.reserve(std::min<std::size_t>(size, SIZE_MAX / 64) * sizeof(Value)));
      row.resize(size, *bound[1]);
    }
    TW_RETURN_IF_ERROR(finish_row());
  }
  return runtime.generator(std::move(out));
}

/// Cuts a sequence into `slices` lists of nearly one length.
Result<Value> slices(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("slice", args, {"slices", "fill_with"}, 1));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> all, iterate(runtime, value));
  TW_ASSIGN_OR_RETURN(const Int wanted, bound.integer(0, 1));
  if (wanted == 0) return runtime.generator({}, template_error("integer division or modulo by zero"));
  const auto count = static_cast<std::size_t>(std::clamp<Int>(wanted, 0, INT32_MAX));
  TW_RETURN_IF_ERROR(runtime.reserve(count * sizeof(Sequence)));
  TW_RETURN_IF_ERROR(runtime.step(count));
  std::vector<Value> out;
  auto from = all.begin();
  for (std::size_t i = 0; i < count; ++i) {
    const bool extra = i < all.size() % count;
    const auto to = from + static_cast<std::ptrdiff_t>(all.size() / count + (extra ? 1 : 0));
    std::vector<Value> part(from, to);
    if (bound.given(1) && !extra) part.push_back(*bound[1]);
    TW_ASSIGN_OR_RETURN(Value made, runtime.list(std::move(part)));
    out.push_back(std::move(made));
    from = to;
  }
  return runtime.generator(std::move(out));
}

constexpr NamedFilter kFilters[] = {
    {"attr", attr},   {"batch", batch},     {"count", length}, {"d", fallback}, {"default", fallback},
    {"first", first}, {"items", items},     {"join", join},    {"last", last},  {"length", length},
    {"list", list},   {"reverse", reverse}, {"slice", slices}};

}  // namespace

std::span<const NamedFilter> sequence_filters() {
  return kFilters;
}

}  // namespace tw::text::jinja
