// Filters on text: case, trimming, indenting, escaping.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja_filter_tables.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"
#include "text/jinja_unicode_data.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// The value as a string; one marked safe stays so.
Result<Value> soft_string(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value;
  TW_ASSIGN_OR_RETURN(std::string text, to_text(runtime, value));
  return runtime.string(std::move(text));
}

/// Filters that are a method of str: upper, lower, capitalize, trim, center.
Result<Value> by_method(Runtime& runtime, const Value& value, std::string_view method, Args args) {
  TW_ASSIGN_OR_RETURN(const Value text, soft_string(runtime, value));
  return call(runtime, *bound_method(runtime, text, method), args);
}

Result<Value> upper(Runtime& runtime, const Value& value, const Args& args) {
  return by_method(runtime, value, "upper", args);
}
Result<Value> lower(Runtime& runtime, const Value& value, const Args& args) {
  return by_method(runtime, value, "lower", args);
}
Result<Value> capitalize(Runtime& runtime, const Value& value, const Args& args) {
  return by_method(runtime, value, "capitalize", args);
}

Result<Value> trim(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("trim", args, {"chars"}, 0));
  Args inner;
  if (bound[0] != nullptr) inner.positional.push_back(*bound[0]);
  return by_method(runtime, value, "strip", std::move(inner));
}

Result<Value> center(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("center", args, {"width"}, 0));
  return by_method(runtime, value, "center", {{bound[0] == nullptr ? Value::integer(80) : *bound[0]}, {}});
}

bool begins_word(char32_t c) {
  return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

/// Jinja's own title(): only after these characters, not after every non-letter, does a word begin.
Result<Value> title(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("title", args, {}, 0));
  TW_ASSIGN_OR_RETURN(const Value text, soft_string(runtime, value));
  TW_RETURN_IF_ERROR(runtime.reserve(text.text().size() * 3));
  const std::u32string chars = decode(text.text());
  std::string out;
  for (std::size_t start = 0; start < chars.size();) {
    const bool gap = begins_word(chars[start]);
    std::size_t end = start + 1;
    while (end < chars.size() && begins_word(chars[end]) == gap) ++end;
    const std::u32string_view piece = std::u32string_view(chars).substr(start, end - start);
    out += to_upper(encode(piece.substr(0, 1)));
    out += to_lower(encode(piece.substr(1)));
    start = end;
  }
  return runtime.string(std::move(out));
}

Result<Value> string(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("string", args, {}, 0));
  return soft_string(runtime, value);
}

Result<Value> replace(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("replace", args, {"old", "new", "count"}, 2));
  Args inner;
  for (std::size_t i = 0; i < 2; ++i) {
    TW_ASSIGN_OR_RETURN(std::string text, to_text(runtime, *bound[i]));
    inner.positional.push_back(runtime.string(std::move(text)));
  }
  if (bound.given(2)) inner.positional.push_back(*bound[2]);
  TW_ASSIGN_OR_RETURN(std::string text, to_text(runtime, value));
  return by_method(runtime, runtime.string(std::move(text)), "replace", std::move(inner));
}

Result<std::string> indentation(Runtime& runtime, const Value* width) {
  if (width == nullptr) return std::string(4, ' ');
  if (width->is_string()) return width->text();
  if (!width->is_integer())
    return template_error("indent: width must be a number or text, not {}", width->type_name());
  const auto spaces = static_cast<std::size_t>(std::clamp<Int>(width->as_int(), 0, INT32_MAX));
  TW_RETURN_IF_ERROR(runtime.reserve(spaces));
  return std::string(spaces, ' ');
}

Result<Value> indent(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("indent", args, {"width", "first", "blank"}, 0));
  TW_ASSIGN_OR_RETURN(const std::string margin, indentation(runtime, bound[0]));
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is_string()) return template_error("indent: unsupported operand type '{}'", value.type_name());
  const bool blank = bound.flag(2, false);
  const std::string text = value.text() + "\n";
  TW_RETURN_IF_ERROR(runtime.reserve(most_pieces(text) * sizeof(std::string_view)));
  const std::vector<std::string_view> lines = split_lines(text, false);
  TW_RETURN_IF_ERROR(runtime.reserve(text.size() + lines.size() * (margin.size() + 16)));
  std::string out = bound.flag(1, false) ? margin : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += margin;
    out += lines[i];
  }
  return runtime.string(std::move(out), value.is_markup());
}

Result<Value> wordcount(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("wordcount", args, {}, 0));
  TW_ASSIGN_OR_RETURN(const Value text, soft_string(runtime, value));
  TW_RETURN_IF_ERROR(runtime.reserve(text.text().size()));
  Int words = 0;
  bool inside = false;
  for (const char32_t c : decode(text.text())) {
    const bool word = c == '_' || (char_flags(c) & (kAlpha | kDecimal | kDigit | kNumeric)) != 0;
    words += word && !inside;
    inside = word;
  }
  return Value::integer(words);
}

Result<Value> forceescape(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("escape", args, {}, 0));
  TW_ASSIGN_OR_RETURN(const std::string text, to_text(runtime, value));
  constexpr std::size_t kLongestEntity = 5;
  TW_RETURN_IF_ERROR(runtime.reserve(text.size() * kLongestEntity));
  return runtime.string(html_escaped(text), true);
}

Result<Value> escape(Runtime& runtime, const Value& value, const Args& args) {
  if (value.is_markup()) return value;
  return forceescape(runtime, value, args);
}

Result<Value> safe(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("safe", args, {}, 0));
  TW_ASSIGN_OR_RETURN(std::string text, to_text(runtime, value));
  return runtime.string(std::move(text), true);
}

Result<Value> format(Runtime& runtime, const Value& value, const Args& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    return template_error("can't handle positional and keyword arguments at the same time");
  }
  TW_ASSIGN_OR_RETURN(const Value text, soft_string(runtime, value));
  if (args.named.empty()) {
    TW_ASSIGN_OR_RETURN(const Value tuple, runtime.tuple(args.positional));
    return format_percent(runtime, text, tuple);
  }
  DictItems items;
  for (const auto& [name, item] : args.named) items.set(runtime.string(name), item);
  TW_ASSIGN_OR_RETURN(const Value dict, runtime.dict(std::move(items)));
  return format_percent(runtime, text, dict);
}

Result<Value> truncate(Runtime& runtime, const Value& value, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("truncate", args, {"length", "killwords", "end", "leeway"}, 0));
  TW_ASSIGN_OR_RETURN(const Int length, bound.integer(0, 255));
  TW_ASSIGN_OR_RETURN(const std::string end, bound.text(2, "..."));
  TW_ASSIGN_OR_RETURN(const Int leeway, bound.given(3) ? bound.integer(3, 5) : Result<Int>(Int{5}));
  const Int keep = length - static_cast<Int>(code_points(end));
  if (keep < 0 || leeway < 0)
    return template_error("truncate: length is less than that of the end mark, or leeway below 0");
  const std::optional<std::size_t> size = length_of(value);
  if (size && static_cast<Int>(*size) <= length + leeway) return value;
  if (!value.is_string()) return template_error("truncate: '{}' is not text", value.type_name());
  std::string kept = value.text().substr(0, byte_offset(value.text(), static_cast<std::size_t>(keep)));
  if (!bound.flag(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return runtime.string(kept + end, value.is_markup());
}

constexpr NamedFilter kFilters[] = {{"capitalize", capitalize},
                                    {"center", center},
                                    {"e", escape},
                                    {"escape", escape},
                                    {"forceescape", forceescape},
                                    {"format", format},
                                    {"indent", indent},
                                    {"lower", lower},
                                    {"replace", replace},
                                    {"safe", safe},
                                    {"string", string},
                                    {"title", title},
                                    {"trim", trim},
                                    {"truncate", truncate},
                                    {"upper", upper},
                                    {"wordcount", wordcount}};

}  // namespace

std::span<const NamedFilter> text_filters() {
  return kFilters;
}

}  // namespace tw::text::jinja
