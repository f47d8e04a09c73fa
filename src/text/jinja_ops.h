// Python's operators on the values of a template. All count their work against the runtime's budget.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"

namespace tw::text::jinja {

/// str(value) and repr(value), appended to `out`.
base::Status append_text(Runtime& runtime, std::string& out, const Value& value);
base::Status append_repr(Runtime& runtime, std::string& out, const Value& value);
base::Result<std::string> to_text(Runtime& runtime, const Value& value);

base::Result<bool> equal(Runtime& runtime, const Value& a, const Value& b);
/// a < b, where Python orders the two.
base::Result<bool> less(Runtime& runtime, const Value& a, const Value& b);
/// One comparison of a chain: op is kEq to kNotIn.
base::Result<bool> compare(Runtime& runtime, Op op, const Value& a, const Value& b);
base::Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);

/// a op b for the arithmetic operators.
base::Result<Value> binary(Runtime& runtime, Op op, const Value& a, const Value& b);
base::Result<Value> negative(Runtime& runtime, const Value& value);

/// The items that a for loop walks. A generator is used up by it.
base::Result<std::vector<Value>> iterate(Runtime& runtime, const Value& value);

/// The attribute an object has by itself, such as a method; empty if it has none. REQUIRES: not undefined.
std::optional<Value> own_attribute(Runtime& runtime, const Value& object, std::string_view name);
/// object.name and object[key] as jinja2's sandbox resolves them: each falls back to the other; undefined if
/// neither is.
base::Result<Value> get_attribute(Runtime& runtime, const Value& object, std::string_view name);
base::Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key);
/// object[start:stop:step]; undefined values stand for absent ones.
base::Result<Value> slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                          const Value& step);

base::Result<Value> call(Runtime& runtime, const Value& callee, Args& args);

/// text % arguments, and text.format(arguments).
base::Result<Value> format_percent(Runtime& runtime, const Value& format, const Value& arguments);
base::Result<Value> format_braces(Runtime& runtime, const Value& format, const Args& args);

/// The method `name` of str, list, tuple, dict or float bound to `object`; empty if there is none. A mutating
/// method is found, but is undefined.
std::optional<Value> bound_method(Runtime& runtime, const Value& object, std::string_view name);

/// What a template finds without being given it: range, namespace, raise_exception, ... Empty if not one of
/// them.
std::optional<Value> find_global(Runtime& runtime, std::string_view name);

}  // namespace tw::text::jinja
