#include "text/jinja_methods.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "text/jinja_ops.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// A method together with the value it was taken from.
class BoundMethod final : public Callable {
 public:
  BoundMethod(Heap* heap, Value self, const Method& method)
      : Callable(heap, sizeof(BoundMethod), self.depth() + 1), self_(std::move(self)), method_(method) {}
  std::string_view type_name() const override { return "builtin_function_or_method"; }
  Result<Value> call(Runtime& runtime, Args& args) override { return method_.call(runtime, self_, args); }

 private:
  const Value self_;
  const Method& method_;
};

template <View::Part kPart>
Result<Value> view(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("view", args, {}, 0));
  return Value::object(Kind::kView, std::make_shared<View>(&runtime.heap(), self, kPart));
}

Result<Value> get(Runtime&, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("get", args, {"", ""}, 1));
  if (!is_hashable(*bound[0])) return template_error("unhashable type: '{}'", bound[0]->type_name());
  const Value* found = self.as<Dict>().items.find(*bound[0]);
  if (found != nullptr) return *found;
  return bound[1] == nullptr ? Value::none() : *bound[1];
}

Result<Value> copy(Runtime&, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("copy", args, {}, 0));
  return self;
}

Result<Value> count(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("count", args, {""}, 1));
  Int found = 0;
  for (const Value& item : self.items()) {
    TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, item, *bound[0]));
    found += same;
  }
  return Value::integer(found);
}

Result<Value> index(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("index", args, {"", "", ""}, 1));
  const Int size = static_cast<Int>(self.items().size());
  TW_ASSIGN_OR_RETURN(Int start, bound.integer(1, 0));
  TW_ASSIGN_OR_RETURN(Int stop, bound.integer(2, size));
  if (start < 0) start = std::max<Int>(start + size, 0);
  if (stop < 0) stop += size;
  for (Int i = start; i < std::min(stop, size); ++i) {
    TW_ASSIGN_OR_RETURN(const bool same,
                        equal(runtime, self.items()[static_cast<std::size_t>(i)], *bound[0]));
    if (same) return Value::integer(i);
  }
  return template_error("the value is not in the {}", self.type_name());
}

Result<Value> is_integer(Runtime&, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("is_integer", args, {}, 0));
  return Value::boolean(std::trunc(self.as_double()) == self.as_double());
}

constexpr Method kDictMethods[] = {{"copy", copy},
                                   {"get", get},
                                   {"items", view<View::Part::kItems>},
                                   {"keys", view<View::Part::kKeys>},
                                   {"values", view<View::Part::kValues>}};
constexpr Method kListMethods[] = {{"copy", copy}, {"count", count}, {"index", index}};
constexpr Method kTupleMethods[] = {{"count", count}, {"index", index}};
constexpr Method kFloatMethods[] = {{"is_integer", is_integer}};

/// Methods that would change the value: jinja2's immutable sandbox hides them.
constexpr std::array<std::string_view, 5> kDictMutators = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 8> kListMutators = {"append", "clear",  "extend",  "insert",
                                                           "pop",    "remove", "reverse", "sort"};

const Method* look(std::span<const Method> methods, std::string_view name) {
  const auto at =
      std::find_if(methods.begin(), methods.end(), [&](const Method& m) { return m.name == name; });
  return at == methods.end() ? nullptr : &*at;
}

const Method* find_method(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString: {
      const Method* found = look(string_change_methods(), name);
      return found != nullptr ? found : look(string_search_methods(), name);
    }
    case Kind::kDict:
      return look(kDictMethods, name);
    case Kind::kList:
      return look(kListMethods, name);
    case Kind::kTuple:
      return look(kTupleMethods, name);
    case Kind::kFloat:
      return look(kFloatMethods, name);
    default:
      return nullptr;
  }
}

bool is_mutator(const Value& object, std::string_view name) {
  const auto has = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return (object.is(Kind::kDict) && has(kDictMutators)) || (object.is(Kind::kList) && has(kListMutators));
}

}  // namespace

std::optional<Value> bound_method(Runtime& runtime, const Value& object, std::string_view name) {
  const Method* method = find_method(object, name);
  if (method != nullptr) {
    return Value::object(Kind::kCallable, std::make_shared<BoundMethod>(&runtime.heap(), object, *method));
  }
  if (!is_mutator(object, name)) return std::nullopt;
  return runtime.undefined("access to attribute '" + std::string(name) + "' of '" +
                           std::string(object.type_name()) +
                           "' object is unsafe: templates cannot change values");
}

}  // namespace tw::text::jinja
