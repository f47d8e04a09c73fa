#include "text/jinja_runtime.h"

#include <algorithm>

#include "base/utf8.h"

namespace tw::text::jinja {

using base::Code;
using base::Error;
using base::error;
using base::Result;
using base::Status;

namespace {

constexpr std::size_t kBytesPerStep = 64;

template <typename Items>
int depth_of(const Items& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

int depth_of(const DictItems& items) {
  int depth = 0;
  for (const auto& [key, value] : items.all()) depth = std::max({depth, key.depth(), value.depth()});
  return depth + 1;
}

}  // namespace

Runtime::~Runtime() {
  // Namespaces may hold each other in a circle; emptied one by one while all still live, nothing recurses.
  for (const auto& space : namespaces_) space->items = DictItems();
}

Error Runtime::out_of_budget() const {
  if (!heap_.fits(0)) {
    return error(Code::kResourceExhausted, "the template needs more than {} bytes of memory",
                 limits_.max_memory_bytes);
  }
  if (oversized_) {
    return error(Code::kResourceExhausted, "the template makes a text longer than {} bytes",
                 limits_.max_output_bytes);
  }
  return error(Code::kResourceExhausted, "the template needs more than {} steps", limits_.max_steps);
}

Status Runtime::check_memory(std::size_t bytes) const {
  if (heap_.fits(bytes)) return base::Ok{};
  return error(Code::kResourceExhausted, "the template needs more than {} bytes of memory",
               limits_.max_memory_bytes);
}

Status Runtime::reserve(std::size_t bytes) {
  TW_RETURN_IF_ERROR(check_memory(bytes));
  return step(bytes / kBytesPerStep);
}

Value Runtime::undefined(std::string message) {
  return Value::object(Kind::kUndefined, std::make_shared<Hint>(&heap_, std::move(message)));
}

Value Runtime::string(std::string text, bool markup) {
  if (!base::is_valid_utf8(text)) text = base::sanitize_utf8(text);
  steps_ += text.size() / kBytesPerStep;
  // Everything that works on one text may take a few times its size while it does: this bounds that.
  oversized_ = oversized_ || text.size() > limits_.max_output_bytes;
  return Value::object(Kind::kString, std::make_shared<String>(&heap_, std::move(text), markup));
}

Status Runtime::check_depth(int depth) const {
  if (depth <= limits_.max_depth) return base::Ok{};
  return error(Code::kResourceExhausted, "values are nested deeper than {} levels", limits_.max_depth);
}

Result<Value> Runtime::sequence(Kind kind, std::vector<Value> items) {
  const int depth = depth_of(items);
  TW_RETURN_IF_ERROR(check_depth(depth));
  TW_RETURN_IF_ERROR(step(1 + items.size() / 4));
  return Value::object(kind, std::make_shared<Sequence>(&heap_, std::move(items), depth));
}

Result<Value> Runtime::group(Value grouper, Value items) {
  std::vector<Value> both = {std::move(grouper), std::move(items)};
  const int depth = depth_of(both);
  TW_RETURN_IF_ERROR(check_depth(depth));
  return Value::object(Kind::kTuple, std::make_shared<Sequence>(&heap_, std::move(both), depth, true));
}

Result<Value> Runtime::dict(DictItems items) {
  const int depth = depth_of(items);
  TW_RETURN_IF_ERROR(check_depth(depth));
  TW_RETURN_IF_ERROR(step(1 + items.size()));
  return Value::object(Kind::kDict, std::make_shared<Dict>(&heap_, std::move(items), depth));
}

Result<Value> Runtime::generator(std::vector<Value> items, std::optional<Error> failure) {
  const int depth = depth_of(items);
  TW_RETURN_IF_ERROR(check_depth(depth));
  return Value::object(Kind::kGenerator,
                       std::make_shared<Generator>(&heap_, std::move(items), std::move(failure), depth));
}

Value Runtime::new_namespace(DictItems items) {
  auto space = std::make_shared<Namespace>(&heap_);
  space->items = std::move(items);
  namespaces_.push_back(space);
  return Value::object(Kind::kNamespace, space);
}

Error undefined_error(const Value& value) {
  const bool hinted = value.identity() != nullptr;
  return template_error("{}", hinted ? value.as<Hint>().message : std::string("an undefined value is used"));
}

bool Bound::flag(std::size_t i, bool fallback) const {
  return values_[i] == nullptr ? fallback : truthy(*values_[i]);
}

Result<Int> Bound::integer(std::size_t i, Int fallback) const {
  const Value* value = values_[i];
  if (value == nullptr) return fallback;
  if (value->is_integer()) return value->as_int();
  if (value->is_undefined()) return undefined_error(*value);
  return template_error("'{}' object cannot be interpreted as an integer", value->type_name());
}

Result<std::string> Bound::text(std::size_t i, std::string_view fallback) const {
  const Value* value = values_[i];
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->text();
  if (value->is_undefined()) return undefined_error(*value);
  return template_error("must be str, not {}", value->type_name());
}

Result<Bound> bind(std::string_view function, const Args& args, std::initializer_list<std::string_view> names,
                   std::size_t required) {
  std::vector<const Value*> values(names.size(), nullptr);
  if (args.positional.size() > names.size()) {
    return template_error("{}() takes at most {} arguments, {} given", function, names.size(),
                          args.positional.size());
  }
  for (std::size_t i = 0; i < args.positional.size(); ++i) values[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* at = std::find(names.begin(), names.end(), name);
    if (at == names.end() || name.empty())
      return template_error("{}() has no parameter named '{}'", function, name);
    const Value*& place = values[static_cast<std::size_t>(at - names.begin())];
    if (place != nullptr) return template_error("{}() got two values for '{}'", function, name);
    place = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (values[i] == nullptr)
      return template_error("{}() misses argument {} ('{}')", function, i + 1, names.begin()[i]);
  }
  return Bound(std::move(values));
}

}  // namespace tw::text::jinja
