// str() and repr() of values, as Python writes them.
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

/// Writes nested values. Values shared inside a value are written each time, so the length is checked on the
/// way.
class Writer {
 public:
  Writer(Runtime& runtime, std::string& out) : runtime_(runtime), out_(out) {}

  Status repr(const Value& value) {
    TW_RETURN_IF_ERROR(runtime_.step());
    TW_RETURN_IF_ERROR(runtime_.check_memory(out_.size()));
    switch (value.kind()) {
      case Kind::kUndefined:
        out_ += "Undefined";
        break;
      case Kind::kNone:
        out_ += "None";
        break;
      case Kind::kBool:
        out_ += value.as_bool() ? "True" : "False";
        break;
      case Kind::kInt:
        out_ += int_text(value.as_int());
        break;
      case Kind::kFloat:
        out_ += float_text(value.as_double());
        break;
      case Kind::kString:
        string(value);
        break;
      case Kind::kList:
        return items("[", value.items(), "]");
      case Kind::kTuple:
        return items("(", value.items(), value.items().size() == 1 ? ",)" : ")");
      case Kind::kDict:
        return dict(value.as<Dict>().items);
      case Kind::kRange:
        range(value.as<Range>());
        break;
      case Kind::kView:
        return view(value.as<View>());
      case Kind::kNamespace:
        return space(value.as<Namespace>());
      default:
        out_ += value.as<Object>().spelling();
    }
    return base::Ok{};
  }

 private:
  void string(const Value& value) {
    const std::string text = jinja::quoted(value.text());
    out_ += value.is_markup() ? "Markup(" + text + ")" : text;
  }

  Status items(std::string_view open, const std::vector<Value>& values, std::string_view close) {
    out_ += open;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ", ";
      TW_RETURN_IF_ERROR(repr(values[i]));
    }
    out_ += close;
    return base::Ok{};
  }

  Status dict(const DictItems& entries) {
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : entries.all()) {
      if (!std::exchange(first, false)) out_ += ", ";
      TW_RETURN_IF_ERROR(repr(key));
      out_ += ": ";
      TW_RETURN_IF_ERROR(repr(value));
    }
    out_ += '}';
    return base::Ok{};
  }

  void range(const Range& r) {
    out_ += "range(" + int_text(r.start) + ", " + int_text(r.stop);
    out_ += r.step == 1 ? ")" : ", " + int_text(r.step) + ")";
  }

  Status view(const View& v) {
    out_ += v.type_name();
    out_ += "([";
    bool first = true;
    for (const auto& [key, value] : v.dict.as<Dict>().items.all()) {
      if (!std::exchange(first, false)) out_ += ", ";
      if (v.part == View::Part::kItems) out_ += '(';
      if (v.part != View::Part::kValues) TW_RETURN_IF_ERROR(repr(key));
      if (v.part == View::Part::kItems) out_ += ", ";
      if (v.part != View::Part::kKeys) TW_RETURN_IF_ERROR(repr(value));
      if (v.part == View::Part::kItems) out_ += ')';
    }
    out_ += "])";
    return base::Ok{};
  }

  /// Only namespaces can hold themselves, so only they need a bound here.
  Status space(const Namespace& n) {
    if (++spaces_ > runtime_.limits().max_depth) {
      return base::error(base::Code::kResourceExhausted, "a namespace holds itself and cannot be written");
    }
    out_ += "<Namespace ";
    TW_RETURN_IF_ERROR(dict(n.items));
    out_ += '>';
    --spaces_;
    return base::Ok{};
  }

  Runtime& runtime_;
  std::string& out_;
  int spaces_ = 0;
};

}  // namespace

Status append_repr(Runtime& runtime, std::string& out, const Value& value) {
  return Writer(runtime, out).repr(value);
}

Status append_text(Runtime& runtime, std::string& out, const Value& value) {
  if (value.is_undefined()) return base::Ok{};
  if (!value.is_string()) return append_repr(runtime, out, value);
  TW_RETURN_IF_ERROR(runtime.check_memory(out.size() + value.text().size()));
  TW_RETURN_IF_ERROR(runtime.step(1 + value.text().size() / 64));
  out += value.text();
  return base::Ok{};
}

Result<std::string> to_text(Runtime& runtime, const Value& value) {
  std::string out;
  TW_RETURN_IF_ERROR(append_text(runtime, out, value));
  return out;
}

}  // namespace tw::text::jinja
