#include "text/jinja_value.h"

#include <cmath>

#include "text/jinja_number.h"

namespace tw::text::jinja {
namespace {

constexpr std::size_t kIndexFrom = 8;  // below, looking through the items is faster than a tree

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

/// Groups the kinds that can be equal to each other.
int key_class(const Value& v) {
  if (v.is_number()) return 1;
  return v.is_string() ? 2 : v.is(Kind::kTuple) ? 3 : v.is_none() ? 4 : v.is_undefined() ? 5 : 6;
}

bool number_less(const Value& a, const Value& b) {
  const std::partial_ordering order = compare_numbers(a, b);
  if (order != std::partial_ordering::unordered) return order < 0;
  // A NaN is put before all numbers, so that the order stays total.
  return std::isnan(a.as_double()) && !std::isnan(b.as_double());
}

bool tuple_less(const std::vector<Value>& a, const std::vector<Value>& b) {
  const KeyLess less;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (less(a[i], b[i])) return true;
    if (less(b[i], a[i])) return false;
  }
  return a.size() < b.size();
}

}  // namespace

std::optional<Value> Object::attribute(Runtime&, const Value&, std::string_view) {
  return std::nullopt;
}

std::string Object::spelling() const {
  return "<" + std::string(type_name()) + ">";
}

String::String(Heap* heap, std::string text_in, bool markup_in)
    : Object(heap, sizeof(String) + text_in.size(), 0),
      text(std::move(text_in)),
      length(count_code_points(text)),
      markup(markup_in) {}

std::string_view View::type_name() const {
  return part == Part::kKeys ? "dict_keys" : part == Part::kValues ? "dict_values" : "dict_items";
}

Value Value::boolean(bool b) {
  Value v(Kind::kBool);
  v.scalar_.i = b;
  return v;
}

Value Value::integer(Int i) {
  Value v(Kind::kInt);
  v.scalar_.i = i;
  return v;
}

Value Value::real(double d) {
  Value v(Kind::kFloat);
  v.scalar_.d = d;
  return v;
}

Value Value::object(Kind kind, std::shared_ptr<Object> object) {
  Value v(kind);
  v.object_ = std::move(object);
  return v;
}

double Value::as_double() const {
  return kind_ == Kind::kFloat ? scalar_.d : static_cast<double>(scalar_.i);
}

const std::string& Value::text() const {
  return as<String>().text;
}
bool Value::is_markup() const {
  return is_string() && as<String>().markup;
}
const std::vector<Value>& Value::items() const {
  return as<Sequence>().items;
}

std::string_view Value::type_name() const {
  switch (kind_) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kTuple:
      return "tuple";
    default:
      return object_->type_name();
  }
}

bool KeyLess::operator()(const Value& a, const Value& b) const {
  const int class_a = key_class(a);
  const int class_b = key_class(b);
  if (class_a != class_b) return class_a < class_b;
  switch (class_a) {
    case 1:
      return number_less(a, b);
    case 2:
      return a.text() < b.text();
    case 3:
      return tuple_less(a.items(), b.items());
    case 6:
      return std::less<>()(a.identity(), b.identity());
    default:
      return false;
  }
}

bool is_hashable(const Value& value) {
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kDict:
    case Kind::kView:
      return false;
    case Kind::kTuple:
      break;
    default:
      return true;
  }
  for (const Value& item : value.items()) {
    if (item.is(Kind::kTuple) || !is_hashable(item)) return false;
  }
  return true;
}

void DictItems::set(Value key, Value value) {
  if (const Value* there = find(key); there != nullptr) {
    *const_cast<Value*>(there) = std::move(value);
    return;
  }
  items_.emplace_back(std::move(key), std::move(value));
  if (items_.size() == kIndexFrom) {
    for (std::size_t i = 0; i < items_.size(); ++i) index_.emplace(items_[i].first, i);
  } else if (items_.size() > kIndexFrom) {
    index_.emplace(items_.back().first, items_.size() - 1);
  }
}

const Value* DictItems::find(const Value& key) const {
  if (key.is_string() && items_.size() < kIndexFrom) return find(key.text());
  if (!index_.empty()) {
    const auto at = index_.find(key);
    return at == index_.end() ? nullptr : &items_[at->second].second;
  }
  const KeyLess less;
  for (const Item& item : items_) {
    if (!less(item.first, key) && !less(key, item.first)) return &item.second;
  }
  return nullptr;
}

const Value* DictItems::find(std::string_view key) const {
  if (!index_.empty())
    return find(Value::object(Kind::kString, std::make_shared<String>(nullptr, std::string(key), false)));
  for (const Item& item : items_) {
    if (item.first.is_string() && item.first.text() == key) return &item.second;
  }
  return nullptr;
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_double() != 0;
    default:
      return length_of(value).value_or(1) != 0;
  }
}

std::optional<std::size_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.as<String>().length;
    case Kind::kList:
    case Kind::kTuple:
      return value.items().size();
    case Kind::kDict:
      return value.as<Dict>().items.size();
    case Kind::kRange:
      return value.as<Range>().size;
    case Kind::kView:
      return value.as<View>().dict.as<Dict>().items.size();
    default:
      return std::nullopt;
  }
}

}  // namespace tw::text::jinja
