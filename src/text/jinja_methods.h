// The tables of methods: str's in one file, those of the containers in another.
#pragma once

#include <span>
#include <string_view>

#include "text/jinja_runtime.h"

namespace tw::text::jinja {

struct Method {
  std::string_view name;
  base::Result<Value> (*call)(Runtime& runtime, const Value& self, const Args& args);
};

/// str's methods, in two parts: those that search and split, and those that change and test.
std::span<const Method> string_search_methods();
std::span<const Method> string_change_methods();

}  // namespace tw::text::jinja
