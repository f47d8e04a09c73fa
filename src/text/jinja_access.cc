// Walking, indexing, slicing and calling values.
#include <algorithm>

#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

Result<std::vector<Value>> characters(Runtime& runtime, const Value& value) {
  const String& string = value.as<String>();
  TW_RETURN_IF_ERROR(runtime.reserve(string.length * (sizeof(String) + sizeof(Value))));
  TW_RETURN_IF_ERROR(runtime.step(string.length));
  std::vector<Value> out;
  out.reserve(string.length);
  for (std::size_t pos = 0; pos < string.text.size();) {
    std::size_t end = pos + 1;
    while (end < string.text.size() && (static_cast<unsigned char>(string.text[end]) & 0xC0) == 0x80) ++end;
    out.push_back(runtime.string(string.text.substr(pos, end - pos)));
    pos = end;
  }
  return out;
}

Result<std::vector<Value>> view_items(Runtime& runtime, const DictItems& items, View::Part part) {
  std::vector<Value> out;
  for (const auto& [key, value] : items.all()) {
    if (part == View::Part::kItems) {
      TW_ASSIGN_OR_RETURN(Value pair, runtime.tuple({key, value}));
      out.push_back(std::move(pair));
    } else {
      out.push_back(part == View::Part::kKeys ? key : value);
    }
  }
  TW_RETURN_IF_ERROR(runtime.step(out.size()));
  return out;
}

Result<std::vector<Value>> drain(Generator& generator) {
  std::vector<Value> out(generator.items.begin() + static_cast<std::ptrdiff_t>(generator.next),
                         generator.items.end());
  generator.next = generator.items.size();
  if (generator.failure) return *std::exchange(generator.failure, std::nullopt);
  return out;
}

/// Python's meaning of an index: from the end if negative. False if outside.
bool place(Int index, std::size_t size, std::size_t& at) {
  const Int n = static_cast<Int>(size);
  if (index < 0) index += n;
  if (index < 0 || index >= n) return false;
  at = static_cast<std::size_t>(index);
  return true;
}

Value character(Runtime& runtime, const String& string, std::size_t index) {
  if (string.ascii()) return runtime.string(std::string(1, string.text[index]), string.markup);
  const std::size_t begin = byte_offset(string.text, index);
  const std::size_t end = begin + byte_offset(std::string_view(string.text).substr(begin), 1);
  return runtime.string(string.text.substr(begin, end - begin), string.markup);
}

/// object[key] where Python's own subscript works; empty where it raises LookupError or TypeError.
Result<std::optional<Value>> subscript(Runtime& runtime, const Value& object, const Value& key) {
  std::optional<Value> none;
  if (object.is(Kind::kDict)) {
    if (!is_hashable(key)) return none;
    const Value* found = object.as<Dict>().items.find(key);
    return found == nullptr ? none : std::optional<Value>(*found);
  }
  std::size_t at = 0;
  const bool indexable = object.is_string() || object.is_sequence() || object.is(Kind::kRange);
  if (!indexable || !key.is_integer() || !place(key.as_int(), *length_of(object), at)) return none;
  if (object.is_sequence()) return std::optional<Value>(object.items()[at]);
  if (object.is_string()) {
    TW_RETURN_IF_ERROR(runtime.step(object.as<String>().ascii() ? 1 : object.text().size() / 64));
    return std::optional<Value>(character(runtime, object.as<String>(), at));
  }
  const Range& range = object.as<Range>();
  return std::optional<Value>(Value::integer(range.start + static_cast<Int>(at) * range.step));
}

Value no_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  return runtime.undefined("'" + std::string(object.type_name()) + " object' has no attribute '" +
                           std::string(name) + "'");
}

struct SliceRange {
  Int start = 0;
  Int stop = 0;
  Int step = 1;
};

Result<Int> slice_index(const Value& value, Int fallback) {
  if (value.is_none() || value.is_undefined()) return fallback;
  if (value.is_integer()) return value.as_int();
  return template_error("slice indices must be integers or None");
}

Int clamp_index(Int index, Int size, Int low, Int high) {
  if (index < 0) index += size;
  return std::clamp(index, low, high);
}

/// The indices that Python's slice(...).indices(size) gives.
Result<SliceRange> slice_range(std::size_t size, const Value& start, const Value& stop, const Value& step) {
  SliceRange out;
  const Int n = static_cast<Int>(size);
  TW_ASSIGN_OR_RETURN(out.step, slice_index(step, 1));
  if (out.step == 0) return template_error("slice step cannot be zero");
  const bool back = out.step < 0;
  const Int low = back ? -1 : 0;
  const Int high = back ? n - 1 : n;
  TW_ASSIGN_OR_RETURN(const Int from, slice_index(start, 0));
  TW_ASSIGN_OR_RETURN(const Int to, slice_index(stop, 0));
  const bool open_start = start.is_none() || start.is_undefined();
  const bool open_stop = stop.is_none() || stop.is_undefined();
  out.start = open_start ? (back ? high : low) : clamp_index(from, n, low, high);
  out.stop = open_stop ? (back ? low : high) : clamp_index(to, n, low, high);
  // A step past the end would overflow when added; one step of that size ends the walk as well.
  out.step = std::clamp(out.step, -n - 1, n + 1);
  return out;
}

Value slice_text(Runtime& runtime, const String& string, const SliceRange& range) {
  if (range.step == 1) {
    const std::string_view text = string.text;
    if (range.stop <= range.start) return runtime.string("", string.markup);
    const auto start = static_cast<std::size_t>(range.start);
    const auto count = static_cast<std::size_t>(range.stop - range.start);
    if (string.ascii()) return runtime.string(std::string(text.substr(start, count)), string.markup);
    const std::size_t begin = byte_offset(text, start);
    return runtime.string(std::string(text.substr(begin, byte_offset(text.substr(begin), count))),
                          string.markup);
  }
  const std::u32string chars = decode(string.text);
  std::u32string out;
  for (Int i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    out += chars[static_cast<std::size_t>(i)];
  }
  return runtime.string(encode(out), string.markup);
}

Result<Value> slice_of_range(Runtime& runtime, const Range& whole, const SliceRange& part) {
  const Int distance = part.step > 0 ? part.stop - part.start : part.start - part.stop;
  const Int width = part.step > 0 ? part.step : -part.step;
  const auto size = static_cast<std::size_t>(distance <= 0 ? 0 : (distance + width - 1) / width);
  const Int start = whole.start + part.start * whole.step;
  const Int stop = whole.start + part.stop * whole.step;
  // range() keeps to 2^100 and 2^17 items, but a slice of a slice of one item may take ever longer steps.
  const Int step = whole.step * part.step;
  constexpr Int kFar = static_cast<Int>(1) << 109;
  if (step > kFar || step < -kFar)
    return base::error(base::Code::kUnsupported, "the step of a range goes beyond 109 bits");
  return Value::object(Kind::kRange, std::make_shared<Range>(&runtime.heap(), start, stop, step, size));
}

}  // namespace

std::optional<Value> own_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kNamespace: {
      const Value* found = object.as<Namespace>().items.find(name);
      return found == nullptr ? std::optional<Value>() : std::optional<Value>(*found);
    }
    case Kind::kCallable:
    case Kind::kOther:
      return object.as<Object>().attribute(runtime, object, name);
    case Kind::kTuple:
      if (object.as<Sequence>().is_group && name == "grouper") return object.items()[0];
      if (object.as<Sequence>().is_group && name == "list") return object.items()[1];
      return bound_method(runtime, object, name);
    default:
      return bound_method(runtime, object, name);
  }
}

Result<std::vector<Value>> iterate(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::vector<Value>();
    case Kind::kString:
      return characters(runtime, value);
    case Kind::kList:
    case Kind::kTuple:
      TW_RETURN_IF_ERROR(runtime.step(value.items().size()));
      return value.items();
    case Kind::kDict:
      return view_items(runtime, value.as<Dict>().items, View::Part::kKeys);
    case Kind::kView:
      return view_items(runtime, value.as<View>().dict.as<Dict>().items, value.as<View>().part);
    case Kind::kGenerator:
      return drain(value.as<Generator>());
    case Kind::kRange: {
      const Range& range = value.as<Range>();
      TW_RETURN_IF_ERROR(runtime.step(range.size));
      std::vector<Value> out;
      out.reserve(range.size);
      for (std::size_t i = 0; i < range.size; ++i) {
        out.push_back(Value::integer(range.start + static_cast<Int>(i) * range.step));
      }
      return out;
    }
    default:
      return template_error("'{}' object is not iterable", value.type_name());
  }
}

Result<Value> get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is_undefined()) return undefined_error(object);
  std::optional<Value> found = own_attribute(runtime, object, name);
  if (found) return *std::move(found);
  if (object.is(Kind::kDict)) {
    if (const Value* item = object.as<Dict>().items.find(name); item != nullptr) return *item;
  }
  return no_attribute(runtime, object, name);
}

Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) return undefined_error(object);
  TW_ASSIGN_OR_RETURN(std::optional<Value> found, subscript(runtime, object, key));
  if (found) return *std::move(found);
  if (key.is_string()) {
    found = own_attribute(runtime, object, key.text());
    if (found) return *std::move(found);
    return no_attribute(runtime, object, key.text());
  }
  std::string shown;
  TW_RETURN_IF_ERROR(append_repr(runtime, shown, key));
  return runtime.undefined("'" + std::string(object.type_name()) + " object' has no element " + shown);
}

Result<Value> slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                    const Value& step) {
  if (object.is_undefined()) return undefined_error(object);
  if (!object.is_string() && !object.is_sequence() && !object.is(Kind::kRange)) {
    return template_error("'{}' object cannot be sliced", object.type_name());
  }
  for (const Value* part : {&start, &stop, &step}) {
    if (part->is_undefined() && part->identity() != nullptr) return undefined_error(*part);
  }
  TW_ASSIGN_OR_RETURN(const SliceRange range, slice_range(*length_of(object), start, stop, step));
  TW_RETURN_IF_ERROR(runtime.step());
  if (object.is_string()) return slice_text(runtime, object.as<String>(), range);
  if (object.is(Kind::kRange)) return slice_of_range(runtime, object.as<Range>(), range);
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, object));
  std::vector<Value> out;
  for (Int i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    out.push_back(items[static_cast<std::size_t>(i)]);
  }
  return object.is(Kind::kTuple) ? runtime.tuple(std::move(out)) : runtime.list(std::move(out));
}

Result<Value> call(Runtime& runtime, const Value& callee, Args& args) {
  TW_RETURN_IF_ERROR(runtime.step());
  if (callee.is_undefined()) return undefined_error(callee);
  if (!callee.is(Kind::kCallable)) return template_error("'{}' object is not callable", callee.type_name());
  return callee.as<Callable>().call(runtime, args);
}

}  // namespace tw::text::jinja
