// The filters and tests of templates, by name.
#pragma once

#include <string_view>

#include "text/jinja_runtime.h"

namespace tw::text::jinja {

using Filter = base::Result<Value> (*)(Runtime& runtime, const Value& value, const Args& args);
using Test = base::Result<bool> (*)(Runtime& runtime, const Value& value, const Args& args);

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

/// Null when there is none of that name.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

}  // namespace tw::text::jinja
