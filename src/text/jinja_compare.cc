// Equality, order and membership, as Python has them.
#include <algorithm>

#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

Result<bool> equal_items(Runtime& runtime, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_dicts(Runtime& runtime, const DictItems& a, const DictItems& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.all()) {
    const Value* other = b.find(key);
    if (other == nullptr) return false;
    TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, value, *other));
    if (!same) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.size != b.size || a.size == 0) return a.size == b.size;
  return a.start == b.start && (a.size == 1 || a.step == b.step);
}

base::Error unordered(std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  return template_error("'{}' not supported between instances of '{}' and '{}'", op, a.type_name(),
                        b.type_name());
}

/// a < b, or a <= b if `or_equal`.
Result<bool> ordered(Runtime& runtime, const Value& a, const Value& b, bool or_equal, std::string_view op) {
  TW_RETURN_IF_ERROR(runtime.step());
  if (a.is_number() && b.is_number()) {
    const std::partial_ordering order = compare_numbers(a, b);
    return order < 0 || (or_equal && order == 0);
  }
  if (a.is_string() && b.is_string()) {
    const int order = a.text().compare(b.text());
    return order < 0 || (or_equal && order == 0);
  }
  if (!a.is_sequence() || a.kind() != b.kind()) return unordered(op, a, b);
  const std::size_t common = std::min(a.items().size(), b.items().size());
  for (std::size_t i = 0; i < common; ++i) {
    TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, a.items()[i], b.items()[i]));
    if (!same) return ordered(runtime, a.items()[i], b.items()[i], or_equal, op);
  }
  return a.items().size() < b.items().size() || (or_equal && a.items().size() == b.items().size());
}

Result<bool> in_items(Runtime& runtime, const std::vector<Value>& items, const Value& item) {
  for (const Value& candidate : items) {
    TW_ASSIGN_OR_RETURN(const bool same, equal(runtime, candidate, item));
    if (same) return true;
  }
  return false;
}

Result<bool> in_string(Runtime& runtime, const Value& container, const Value& item) {
  if (!item.is_string()) {
    return template_error("'in <string>' requires string as left operand, not {}", item.type_name());
  }
  TW_RETURN_IF_ERROR(runtime.step(container.text().size() / 64));
  return find_bytes(container.text(), item.text()) != std::string::npos;
}

Result<bool> in_dict(const Value& container, const Value& item) {
  if (!is_hashable(item)) return template_error("unhashable type: '{}'", item.type_name());
  return container.as<Dict>().items.find(item) != nullptr;
}

}  // namespace

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b) {
  TW_RETURN_IF_ERROR(runtime.step());
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(runtime, a.items(), b.items());
    case Kind::kDict:
      return equal_dicts(runtime, a.as<Dict>().items, b.as<Dict>().items);
    case Kind::kRange:
      return equal_ranges(a.as<Range>(), b.as<Range>());
    default:
      return a.identity() == b.identity();
  }
}

Result<bool> less(Runtime& runtime, const Value& a, const Value& b) {
  return ordered(runtime, a, b, false, "<");
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
  TW_RETURN_IF_ERROR(runtime.step());
  switch (container.kind()) {
    case Kind::kString:
      return in_string(runtime, container, item);
    case Kind::kDict:
      return in_dict(container, item);
    case Kind::kList:
    case Kind::kTuple:
      return in_items(runtime, container.items(), item);
    default:
      break;
  }
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, container));
  return in_items(runtime, items, item);
}

Result<bool> compare(Runtime& runtime, Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::kEq:
      return equal(runtime, a, b);
    case Op::kLt:
      return ordered(runtime, a, b, false, "<");
    case Op::kLe:
      return ordered(runtime, a, b, true, "<=");
    case Op::kGt:
      return ordered(runtime, b, a, false, ">");
    case Op::kGe:
      return ordered(runtime, b, a, true, ">=");
    case Op::kIn:
      return contains(runtime, b, a);
    default:
      break;
  }
  TW_ASSIGN_OR_RETURN(const bool yes, op == Op::kNe ? equal(runtime, a, b) : contains(runtime, b, a));
  return !yes;
}

}  // namespace tw::text::jinja
