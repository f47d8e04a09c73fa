// Methods of str that make a changed copy, and those that test its characters.
#include <algorithm>

#include "text/jinja_methods.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"
#include "text/jinja_unicode_data.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// Case changes can lengthen a character from 2 bytes to 6 at most.
constexpr std::size_t kCaseGrowth = 3;

template <std::string (*kChange)(std::string_view)>
Result<Value> change(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("method", args, {}, 0));
  TW_RETURN_IF_ERROR(runtime.reserve(self.text().size() * kCaseGrowth));
  return runtime.string(kChange(self.text()), self.is_markup());
}

template <Side kSide>
Result<Value> strip_method(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("strip", args, {""}, 0));
  TW_RETURN_IF_ERROR(runtime.step(1 + self.text().size() / 64));
  if (!bound.given(0)) return runtime.string(std::string(strip(self.text(), kSide)), self.is_markup());
  TW_ASSIGN_OR_RETURN(const std::string chars, bound.text(0, ""));
  return runtime.string(std::string(strip(self.text(), kSide, chars)), self.is_markup());
}

Result<Value> replace(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("replace", args, {"", "", ""}, 2));
  TW_ASSIGN_OR_RETURN(const std::string from, bound.text(0, ""));
  TW_ASSIGN_OR_RETURN(std::string to, bound.text(1, ""));
  TW_ASSIGN_OR_RETURN(const Int most, bound.integer(2, -1));
  if (self.is_markup() && !bound[1]->is_markup()) to = html_escaped(to);
  const auto limit = static_cast<std::int64_t>(std::clamp<Int>(most, -1, INT64_MAX));
  TW_RETURN_IF_ERROR(runtime.reserve(replaced_size(self.text(), from, to, limit) + self.text().size()));
  return runtime.string(replaced(self.text(), from, to, limit), self.is_markup());
}

/// How many fill characters go left and right.
using Padding = std::pair<std::size_t, std::size_t> (*)(std::size_t missing, std::size_t width);

std::pair<std::size_t, std::size_t> pad_left(std::size_t missing, std::size_t) {
  return {missing, 0};
}
std::pair<std::size_t, std::size_t> pad_right(std::size_t missing, std::size_t) {
  return {0, missing};
}
/// CPython's own rule for the odd one.
std::pair<std::size_t, std::size_t> pad_both(std::size_t missing, std::size_t width) {
  const std::size_t left = missing / 2 + (missing & width & 1);
  return {left, missing - left};
}

template <Padding kPadding>
Result<Value> justify(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("justify", args, {"", ""}, 1));
  TW_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 0));
  TW_ASSIGN_OR_RETURN(const std::string fill, bound.text(1, " "));
  if (code_points(fill) != 1) return template_error("The fill character must be exactly one character long");
  const std::size_t length = self.as<String>().length;
  if (width <= static_cast<Int>(length)) return self;
  if (width > INT32_MAX) return runtime.reserve(SIZE_MAX).error();
  const std::size_t wanted = static_cast<std::size_t>(width);
  TW_RETURN_IF_ERROR(runtime.reserve(wanted * fill.size()));
  const auto [left, right] = kPadding(wanted - length, wanted);
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += fill;
  out += self.text();
  for (std::size_t i = 0; i < right; ++i) out += fill;
  return runtime.string(std::move(out), self.is_markup());
}

Result<Value> zfill(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("zfill", args, {""}, 1));
  TW_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 0));
  const std::size_t length = self.as<String>().length;
  if (width <= static_cast<Int>(length)) return self;
  if (width > INT32_MAX) return runtime.reserve(SIZE_MAX).error();
  const std::size_t missing = static_cast<std::size_t>(width) - length;
  TW_RETURN_IF_ERROR(runtime.reserve(missing));
  std::string out = self.text();
  const bool sign = out.starts_with('+') || out.starts_with('-');
  out.insert(sign ? 1 : 0, missing, '0');
  return runtime.string(std::move(out), self.is_markup());
}

template <bool kPrefix>
Result<Value> remove_affix(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind(kPrefix ? "removeprefix" : "removesuffix", args, {""}, 1));
  TW_ASSIGN_OR_RETURN(const std::string affix, bound.text(0, ""));
  const std::string& text = self.text();
  if (kPrefix ? !text.starts_with(affix) : !text.ends_with(affix)) return self;
  return runtime.string(kPrefix ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size()),
                        self.is_markup());
}

Result<Value> expandtabs(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("expandtabs", args, {"tabsize"}, 0));
  TW_ASSIGN_OR_RETURN(const Int size, bound.integer(0, 8));
  const auto width = static_cast<std::size_t>(std::clamp<Int>(size, 0, INT32_MAX));
  std::string out;
  std::size_t column = 0;
  for (const char c : self.text()) {
    if (c == '\t') {
      const std::size_t spaces = width == 0 ? 0 : width - column % width;
      TW_RETURN_IF_ERROR(runtime.check_memory(out.size() + spaces));
      TW_RETURN_IF_ERROR(runtime.step(1 + spaces / 64));
      out.append(spaces, ' ');
      column += spaces;
      continue;
    }
    out += c;
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++column;
    if (c == '\n' || c == '\r') column = 0;
  }
  return runtime.string(std::move(out), self.is_markup());
}

template <std::uint32_t kFlags>
Result<Value> characters_are(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("method", args, {}, 0));
  TW_RETURN_IF_ERROR(runtime.step(1 + self.text().size() / 64));
  return Value::boolean(all_have(self.text(), kFlags));
}

template <bool (*kAsk)(std::string_view)>
Result<Value> ask(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("method", args, {}, 0));
  TW_RETURN_IF_ERROR(runtime.step(1 + self.text().size() / 64));
  return Value::boolean(kAsk(self.text()));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
bool is_printable(std::string_view text) {
  return text.empty() || all_have(text, kPrintable);
}

Result<Value> format(Runtime& runtime, const Value& self, const Args& args) {
  return format_braces(runtime, self, args);
}

constexpr Method kMethods[] = {{"capitalize", change<to_capitalized>},
                               {"center", justify<pad_both>},
                               {"expandtabs", expandtabs},
                               {"format", format},
                               {"isalnum", characters_are<kAlpha | kDecimal | kDigit | kNumeric>},
                               {"isalpha", characters_are<kAlpha>},
                               {"isascii", ask<is_ascii>},
                               {"isdecimal", characters_are<kDecimal>},
                               {"isdigit", characters_are<kDigit>},
                               {"islower", ask<is_lower>},
                               {"isnumeric", characters_are<kNumeric>},
                               {"isprintable", ask<is_printable>},
                               {"isspace", characters_are<kSpace>},
                               {"istitle", ask<is_title>},
                               {"isupper", ask<is_upper>},
                               {"ljust", justify<pad_right>},
                               {"lower", change<to_lower>},
                               {"lstrip", strip_method<Side::kLeft>},
                               {"removeprefix", remove_affix<true>},
                               {"removesuffix", remove_affix<false>},
                               {"replace", replace},
                               {"rjust", justify<pad_left>},
                               {"rstrip", strip_method<Side::kRight>},
                               {"strip", strip_method<Side::kBoth>},
                               {"swapcase", change<swap_case>},
                               {"title", change<to_title>},
                               {"upper", change<to_upper>},
                               {"zfill", zfill}};

}  // namespace

std::span<const Method> string_change_methods() {
  return kMethods;
}

}  // namespace tw::text::jinja
