// Methods of str that search, split and join.
#include <algorithm>

#include "text/jinja_methods.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;

/// Part of a string between optional code point indices, and where it begins.
struct Part {
  std::string_view text;
  std::size_t begin = 0;  // code points
  bool inside = true;     // false when start lies past the end: then not even "" is found
};

Result<Part> part_of(const Value& self, const Bound& args, std::size_t start_at) {
  const String& string = self.as<String>();
  const Int size = static_cast<Int>(string.length);
  Int start = 0;
  Int stop = size;
  if (args.given(start_at)) {
    TW_ASSIGN_OR_RETURN(start, args.integer(start_at, 0));
  }
  if (args.given(start_at + 1)) {
    TW_ASSIGN_OR_RETURN(stop, args.integer(start_at + 1, size));
  }
  if (start < 0) start = std::max<Int>(start + size, 0);
  if (stop < 0) stop = std::max<Int>(stop + size, 0);
  stop = std::min(stop, size);
  if (start > stop) return Part{{}, 0, false};
  const std::string_view text = string.text;
  const std::size_t begin = byte_offset(text, static_cast<std::size_t>(start));
  const std::size_t end = byte_offset(text, static_cast<std::size_t>(stop));
  return Part{text.substr(begin, end - begin), static_cast<std::size_t>(start), true};
}

Result<Int> search(Runtime& runtime, std::string_view name, const Value& self, const Args& args, bool last) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"", "", ""}, 1));
  TW_ASSIGN_OR_RETURN(const std::string needle, bound.text(0, ""));
  TW_ASSIGN_OR_RETURN(const Part part, part_of(self, bound, 1));
  TW_RETURN_IF_ERROR(runtime.step(self.text().size() / 64));
  if (!part.inside) return Int{-1};
  const std::size_t at = last ? rfind_bytes(part.text, needle) : find_bytes(part.text, needle);
  if (at == std::string_view::npos) return Int{-1};
  return static_cast<Int>(part.begin + code_points(part.text.substr(0, at)));
}

template <bool kLast>
Result<Value> find(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Int at, search(runtime, "find", self, args, kLast));
  return Value::integer(at);
}

template <bool kLast>
Result<Value> index(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Int at, search(runtime, "index", self, args, kLast));
  if (at < 0) return template_error("substring not found");
  return Value::integer(at);
}

Result<Value> count(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("count", args, {"", "", ""}, 1));
  TW_ASSIGN_OR_RETURN(const std::string needle, bound.text(0, ""));
  TW_ASSIGN_OR_RETURN(const Part part, part_of(self, bound, 1));
  TW_RETURN_IF_ERROR(runtime.step(self.text().size() / 64));
  if (!part.inside) return Value::integer(0);
  if (needle.empty()) return Value::integer(static_cast<Int>(code_points(part.text)) + 1);
  Int found = 0;
  for (std::size_t at = find_bytes(part.text, needle); at != std::string_view::npos; ++found) {
    at = find_bytes(part.text, needle, at + needle.size());
  }
  return Value::integer(found);
}

template <bool kStart>
Result<Value> begins_or_ends(Runtime& runtime, const Value& self, const Args& args) {
  const std::string_view name = kStart ? "startswith" : "endswith";
  TW_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"", "", ""}, 1));
  TW_ASSIGN_OR_RETURN(const Part part, part_of(self, bound, 1));
  TW_RETURN_IF_ERROR(runtime.step());
  const Value& wanted = *bound[0];
  const std::vector<Value> choices = wanted.is(Kind::kTuple) ? wanted.items() : std::vector<Value>{wanted};
  for (const Value& choice : choices) {
    if (!choice.is_string()) {
      return template_error("{} first arg must be str or a tuple of str, not {}", name, choice.type_name());
    }
    const bool hit = kStart ? part.text.starts_with(choice.text()) : part.text.ends_with(choice.text());
    if (hit && part.inside) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Result<Value> strings(Runtime& runtime, const Value& self, const std::vector<std::string_view>& parts) {
  TW_RETURN_IF_ERROR(runtime.reserve(parts.size() * (sizeof(String) + sizeof(Value))));
  std::vector<Value> out;
  out.reserve(parts.size());
  for (const std::string_view part : parts)
    out.push_back(runtime.string(std::string(part), self.is_markup()));
  return runtime.list(std::move(out));
}

template <bool kRight>
Result<Value> split(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind(kRight ? "rsplit" : "split", args, {"sep", "maxsplit"}, 0));
  TW_ASSIGN_OR_RETURN(const Int most, bound.integer(1, -1));
  const auto limit = static_cast<std::int64_t>(std::clamp<Int>(most, -1, INT64_MAX));
  TW_RETURN_IF_ERROR(
      runtime.reserve(self.text().size() + most_pieces(self.text()) * sizeof(std::string_view)));
  if (!bound.given(0)) return strings(runtime, self, split_space(self.text(), limit, kRight));
  TW_ASSIGN_OR_RETURN(const std::string separator, bound.text(0, ""));
  if (separator.empty()) return template_error("empty separator");
  const std::size_t growth =
      replaced_size(self.text(), separator, separator + std::string(sizeof(Value), ' '), limit);
  TW_RETURN_IF_ERROR(runtime.reserve(growth));
  return strings(runtime, self, split_at(self.text(), separator, limit, kRight));
}

Result<Value> splitlines(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("splitlines", args, {"keepends"}, 0));
  TW_RETURN_IF_ERROR(
      runtime.reserve(self.text().size() + most_pieces(self.text()) * sizeof(std::string_view)));
  return strings(runtime, self, split_lines(self.text(), bound.flag(0, false)));
}

template <bool kRight>
Result<Value> partition(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("partition", args, {""}, 1));
  TW_ASSIGN_OR_RETURN(const std::string separator, bound.text(0, ""));
  if (separator.empty()) return template_error("empty separator");
  const std::string& text = self.text();
  TW_RETURN_IF_ERROR(runtime.reserve(text.size()));
  const std::size_t at = kRight ? rfind_bytes(text, separator) : find_bytes(text, separator);
  const auto made = [&](std::string part) { return runtime.string(std::move(part), self.is_markup()); };
  if (at == std::string::npos) {
    return kRight ? runtime.tuple({made(""), made(""), self}) : runtime.tuple({self, made(""), made("")});
  }
  return runtime.tuple({made(text.substr(0, at)), made(separator), made(text.substr(at + separator.size()))});
}

Result<Value> join(Runtime& runtime, const Value& self, const Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("join", args, {""}, 1));
  TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime, *bound[0]));
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return template_error("sequence item {}: expected str instance, {} found", i, items[i].type_name());
    }
    TW_RETURN_IF_ERROR(runtime.check_memory(out.size() + self.text().size() + items[i].text().size()));
    TW_RETURN_IF_ERROR(runtime.step(1 + (self.text().size() + items[i].text().size()) / 64));
    if (i > 0) out += self.text();
    out += self.is_markup() && !items[i].is_markup() ? html_escaped(items[i].text()) : items[i].text();
  }
  return runtime.string(std::move(out), self.is_markup());
}

constexpr Method kMethods[] = {{"count", count},
                               {"endswith", begins_or_ends<false>},
                               {"find", find<false>},
                               {"index", index<false>},
                               {"join", join},
                               {"partition", partition<false>},
                               {"rfind", find<true>},
                               {"rindex", index<true>},
                               {"rpartition", partition<true>},
                               {"rsplit", split<true>},
                               {"split", split<false>},
                               {"splitlines", splitlines},
                               {"startswith", begins_or_ends<true>}};

}  // namespace

std::span<const Method> string_search_methods() {
  return kMethods;
}

}  // namespace tw::text::jinja
