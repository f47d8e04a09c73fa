#include "text/jinja_json.h"

namespace tw::text::jinja {
namespace {

using base::OrderedJson;
using base::Result;

/// REQUIRES: the nesting is at most the runtime's depth limit; `left` counts down what remains of it.
Result<Value> convert(Runtime& runtime, const OrderedJson& json, int left) {
  TW_RETURN_IF_ERROR(runtime.step());
  if (left < 0) {
    return base::error(base::Code::kResourceExhausted, "a variable is nested deeper than {} levels",
                       runtime.limits().max_depth);
  }
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value::integer(json.get<std::int64_t>());
    case OrderedJson::value_t::number_unsigned:
      return Value::integer(static_cast<Int>(json.get<std::uint64_t>()));
    case OrderedJson::value_t::number_float:
      return Value::real(json.get<double>());
    case OrderedJson::value_t::string:
      return runtime.string(json.get_ref<const std::string&>());
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const OrderedJson& item : json) {
        TW_ASSIGN_OR_RETURN(Value value, convert(runtime, item, left - 1));
        items.push_back(std::move(value));
      }
      return runtime.list(std::move(items));
    }
    case OrderedJson::value_t::object: {
      DictItems items;
      for (const auto& [key, item] : json.items()) {
        TW_ASSIGN_OR_RETURN(Value value, convert(runtime, item, left - 1));
        items.set(runtime.string(key), std::move(value));
      }
      return runtime.dict(std::move(items));
    }
    default:
      return Value::none();
  }
}

}  // namespace

Result<Value> from_json(Runtime& runtime, const OrderedJson& json) {
  return convert(runtime, json, runtime.limits().max_depth);
}

}  // namespace tw::text::jinja
