// Between JSON and the values of a template.
#pragma once

#include "base/json.h"
#include "text/jinja_runtime.h"

namespace tw::text::jinja {

/// A JSON tree as Python's json.loads gives it.
base::Result<Value> from_json(Runtime& runtime, const base::OrderedJson& json);

}  // namespace tw::text::jinja
