// The filter tojson as transformers defines it: Python's json.dumps.
#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja_filter_tables.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_sort.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

constexpr Int kMaxIndent = 1000;

struct Style {
  bool ascii = false;
  bool sort_keys = false;
  bool lines = false;  ///< an item per line, indented
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const Style& style) : runtime_(runtime), style_(style) {}

  Result<std::string> run(const Value& value) {
    TW_RETURN_IF_ERROR(write(value, 0));
    return std::move(out_);
  }

 private:
  Status write(const Value& value, std::size_t level) {
    TW_RETURN_IF_ERROR(runtime_.step(1 + level * style_.indent.size() / 64));
    TW_RETURN_IF_ERROR(runtime_.check_memory(out_.size()));
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        break;
      case Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        break;
      case Kind::kInt:
        out_ += int_text(value.as_int());
        break;
      case Kind::kFloat:
        out_ += number(value.as_double());
        break;
      case Kind::kString:
        string(value.text());
        break;
      case Kind::kList:
      case Kind::kTuple:
        return array(value.items(), level);
      case Kind::kDict:
        return object(value.as<Dict>().items, level);
      default:
        return template_error("Object of type {} is not JSON serializable", value.type_name());
    }
    return base::Ok{};
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return float_text(d);
  }

  void newline(std::size_t level) {
    if (!style_.lines) return;
    out_ += '\n';
    for (std::size_t i = 0; i < level; ++i) out_ += style_.indent;
  }

  Status array(const std::vector<Value>& items, std::size_t level) {
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      newline(level + 1);
      TW_RETURN_IF_ERROR(write(items[i], level + 1));
    }
    if (!items.empty()) newline(level);
    out_ += ']';
    return base::Ok{};
  }

  Status object(const DictItems& items, std::size_t level) {
    TW_ASSIGN_OR_RETURN(const std::vector<DictItems::Item> entries, ordered(items));
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : entries) {
      if (!std::exchange(first, false)) out_ += style_.item_separator;
      newline(level + 1);
      TW_RETURN_IF_ERROR(write_key(key));
      out_ += style_.key_separator;
      TW_RETURN_IF_ERROR(write(value, level + 1));
    }
    if (items.size() > 0) newline(level);
    out_ += '}';
    return base::Ok{};
  }

  Result<std::vector<DictItems::Item>> ordered(const DictItems& items) {
    std::vector<DictItems::Item> entries = items.all();
    if (!style_.sort_keys) return entries;
    TW_RETURN_IF_ERROR(
        merge_sort(entries, [&](const auto& a, const auto& b) { return less(runtime_, a.first, b.first); }));
    return entries;
  }

  /// Keys are strings in JSON: numbers and the like are written as one.
  Status write_key(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        string(key.text());
        return base::Ok{};
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        break;
      default:
        return template_error("keys must be str, int, float, bool or None, not {}", key.type_name());
    }
    out_ += '"';
    TW_RETURN_IF_ERROR(write(key, 0));
    out_ += '"';
    return base::Ok{};
  }

  void unicode_escape(char32_t unit) {
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_ += "0123456789abcdef"[unit >> shift & 15];
  }

  void character(char32_t c) {
    static constexpr std::string_view kLetters = "\b\f\n\r\t";
    const std::size_t at = c < 0x80 ? kLetters.find(static_cast<char>(c)) : std::string_view::npos;
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += static_cast<char>(c);
    } else if (at != std::string_view::npos) {
      out_ += '\\';
      out_ += "bfnrt"[at];
    } else if (c < 0x20 || (style_.ascii && c >= 0x7F && c < 0x10000)) {
      unicode_escape(c);
    } else if (style_.ascii && c >= 0x10000) {
      unicode_escape(0xD800 + ((c - 0x10000) >> 10));
      unicode_escape(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      base::append_utf8(out_, c);
    }
  }

  void string(std::string_view text) {
    out_ += '"';
    for (std::size_t pos = 0; pos < text.size();) character(base::decode_utf8(text, pos));
    out_ += '"';
  }

  Runtime& runtime_;
  const Style& style_;
  std::string out_;
};

Status read_indent(const Value& indent, Style& style) {
  if (indent.is_none()) return base::Ok{};
  style.lines = true;
  style.item_separator = ",";
  if (indent.is_string()) {
    style.indent = indent.text();
  } else if (indent.is_integer()) {
    if (indent.as_int() > kMaxIndent) {
      return base::error(base::Code::kResourceExhausted, "tojson: an indent of more than {} spaces",
                         kMaxIndent);
    }
    style.indent = std::string(static_cast<std::size_t>(std::max<Int>(indent.as_int(), 0)), ' ');
  } else {
    return template_error("tojson: indent must be a number or text, not {}", indent.type_name());
  }
  return base::Ok{};
}

Result<Value> tojson(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound,
                      bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
  Style style;
  style.ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound[1] != nullptr) TW_RETURN_IF_ERROR(read_indent(*bound[1], style));
  if (bound.given(2)) {
    TW_ASSIGN_OR_RETURN(const std::vector<Value> two, iterate(runtime, *bound[2]));
    if (two.size() != 2 || !two[0].is_string() || !two[1].is_string()) {
      return template_error("tojson: separators must be two strings");
    }
    style.item_separator = two[0].text();
    style.key_separator = two[1].text();
  }
  TW_RETURN_IF_ERROR(runtime.step());
  TW_ASSIGN_OR_RETURN(std::string out, JsonWriter(runtime, style).run(value));
  return runtime.string(std::move(out));
}

constexpr NamedFilter kFilters[] = {{"tojson", tojson}};

}  // namespace

std::span<const NamedFilter> json_filters() {
  return kFilters;
}

}  // namespace tw::text::jinja
