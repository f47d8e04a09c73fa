// The tests of `is`.
#include <algorithm>

#include "text/jinja_filters.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// Tests that only look at the type or the value itself.
template <bool (*kAsk)(const Value&)>
Result<bool> plain(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("test", args, {}, 0));
  return kAsk(value);
}

bool defined(const Value& v) {
  return !v.is_undefined();
}
bool undefined(const Value& v) {
  return v.is_undefined();
}
bool none(const Value& v) {
  return v.is_none();
}
bool boolean(const Value& v) {
  return v.is(Kind::kBool);
}
bool is_true(const Value& v) {
  return v.is(Kind::kBool) && v.as_bool();
}
bool is_false(const Value& v) {
  return v.is(Kind::kBool) && !v.as_bool();
}
bool integer(const Value& v) {
  return v.is(Kind::kInt);
}
bool real(const Value& v) {
  return v.is(Kind::kFloat);
}
bool number(const Value& v) {
  return v.is_number();
}
bool string(const Value& v) {
  return v.is_string();
}
bool mapping(const Value& v) {
  return v.is(Kind::kDict);
}
bool escaped(const Value& v) {
  return v.is_markup();
}

bool iterable(const Value& v) {
  switch (v.kind()) {
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
    case Kind::kNamespace:
    case Kind::kCallable:
      return false;
    default:
      return true;
  }
}

/// What has a length and takes an index. jinja2's undefined has both.
bool sequence(const Value& v) {
  return v.is_string() || v.is_sequence() || v.is(Kind::kDict) || v.is(Kind::kRange) || v.is_undefined();
}

/// jinja2's undefined can be called, if only to fail.
bool callable(const Value& v) {
  return v.is(Kind::kCallable) || v.is_undefined();
}

template <bool (*kAsk)(std::string_view)>
Result<bool> text_is(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("test", args, {}, 0));
  TW_ASSIGN_OR_RETURN(const std::string text, to_text(runtime, value));
  return kAsk(text);
}

template <Op kOp>
Result<bool> compares(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("test", args, {""}, 1));
  return compare(runtime, kOp, value, *bound[0]);
}

Result<bool> remainder_is(Runtime& runtime, const Value& value, const Value& divisor, Int wanted) {
  TW_ASSIGN_OR_RETURN(const Value rest, binary(runtime, Op::kMod, value, divisor));
  return equal(runtime, rest, Value::integer(wanted));
}

template <Int kRest>
Result<bool> parity(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("test", args, {}, 0));
  return remainder_is(runtime, value, Value::integer(2), kRest);
}

Result<bool> divisibleby(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("divisibleby", args, {"num"}, 1));
  return remainder_is(runtime, value, *bound[0], 0);
}

Result<bool> sameas(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("sameas", args, {"other"}, 1));
  const Value& other = *bound[0];
  if (value.kind() != other.kind()) return false;
  if (value.identity() != nullptr && !value.is_string()) return value.identity() == other.identity();
  return equal(runtime, value, other);
}

template <typename Found, Found (*kFind)(std::string_view)>
Result<bool> names(Runtime&, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("test", args, {}, 0));
  return value.is_string() && kFind(value.text()) != nullptr;
}

struct NamedTest {
  std::string_view name;
  Test test;
};

constexpr NamedTest kTests[] = {{"!=", compares<Op::kNe>},
                                {"<", compares<Op::kLt>},
                                {"<=", compares<Op::kLe>},
                                {"==", compares<Op::kEq>},
                                {">", compares<Op::kGt>},
                                {">=", compares<Op::kGe>},
                                {"boolean", plain<boolean>},
                                {"callable", plain<callable>},
                                {"defined", plain<defined>},
                                {"divisibleby", divisibleby},
                                {"eq", compares<Op::kEq>},
                                {"equalto", compares<Op::kEq>},
                                {"escaped", plain<escaped>},
                                {"even", parity<0>},
                                {"false", plain<is_false>},
                                {"filter", names<Filter, find_filter>},
                                {"float", plain<real>},
                                {"ge", compares<Op::kGe>},
                                {"greaterthan", compares<Op::kGt>},
                                {"gt", compares<Op::kGt>},
                                {"in", compares<Op::kIn>},
                                {"integer", plain<integer>},
                                {"iterable", plain<iterable>},
                                {"le", compares<Op::kLe>},
                                {"lessthan", compares<Op::kLt>},
                                {"lower", text_is<is_lower>},
                                {"lt", compares<Op::kLt>},
                                {"mapping", plain<mapping>},
                                {"ne", compares<Op::kNe>},
                                {"none", plain<none>},
                                {"number", plain<number>},
                                {"odd", parity<1>},
                                {"sameas", sameas},
                                {"sequence", plain<sequence>},
                                {"string", plain<string>},
                                {"test", names<Test, find_test>},
                                {"true", plain<is_true>},
                                {"undefined", plain<undefined>},
                                {"upper", text_is<is_upper>}};

}  // namespace

Test find_test(std::string_view name) {
  const auto* at =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const NamedTest& t) { return t.name == name; });
  return at == std::end(kTests) ? nullptr : at->test;
}

}  // namespace tw::text::jinja
