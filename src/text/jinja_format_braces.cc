// `text.format(arguments)`: fields, conversions and nested specifications.
#include "text/jinja_format.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Args& args, bool markup)
      : runtime_(runtime), args_(args), markup_(markup) {}

  /// `levels`: how deep fields may still nest inside specifications.
  Result<std::string> run(std::string_view format, int levels) {
    if (levels < 0) return template_error("Max string recursion exceeded");
    std::string out;
    for (std::size_t pos = 0; pos < format.size();) {
      const char c = format[pos++];
      if (c != '{' && c != '}') {
        out += c;
      } else if (pos < format.size() && format[pos] == c) {
        out += c;
        ++pos;
      } else if (c == '}') {
        return template_error("Single '}}' encountered in format string");
      } else {
        TW_ASSIGN_OR_RETURN(const std::size_t end, field_end(format, pos));
        TW_ASSIGN_OR_RETURN(const std::string text, field(format.substr(pos, end - pos), levels));
        out += text;
        pos = end + 1;
        TW_RETURN_IF_ERROR(runtime_.step());
        TW_RETURN_IF_ERROR(runtime_.check_memory(out.size()));
      }
    }
    TW_RETURN_IF_ERROR(runtime_.step(format.size() / 64));
    return out;
  }

 private:
  static Result<std::size_t> field_end(std::string_view format, std::size_t pos) {
    int open = 1;
    for (bool in_index = false; pos < format.size(); ++pos) {
      const char c = format[pos];
      if (in_index || c == '[') {
        in_index = c != ']';
        continue;
      }
      open += c == '{' ? 1 : c == '}' ? -1 : 0;
      if (open == 0) return pos;
    }
    return template_error("expected '}}' before end of string");
  }

  Result<std::string> field(std::string_view inside, int levels) {
    std::size_t end = 0;
    for (bool in_index = false; end < inside.size(); ++end) {
      const char c = inside[end];
      if (in_index || c == '[')
        in_index = c != ']';
      else if (c == '!' || c == ':')
        break;
    }
    const std::string_view name = inside.substr(0, end);
    std::string_view rest = inside.substr(end);
    TW_ASSIGN_OR_RETURN(Value value, lookup(name));
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        return template_error("expected ':' after conversion specifier");
      TW_ASSIGN_OR_RETURN(value, converted(value, rest[1]));
      rest.remove_prefix(2);
    }
    if (rest.starts_with(':')) rest.remove_prefix(1);
    TW_ASSIGN_OR_RETURN(const std::string spec, run(rest, levels - 1));
    if (markup_ && value.is_markup() && spec.empty()) return value.text();
    TW_ASSIGN_OR_RETURN(std::string text, format_value(runtime_, value, spec));
    return markup_ ? html_escaped(text) : text;
  }

  Result<Value> converted(const Value& value, char how) {
    std::string text;
    if (how != 's' && how != 'r' && how != 'a')
      return template_error("Unknown conversion specifier '{}'", how);
    TW_RETURN_IF_ERROR(how == 's' ? append_text(runtime_, text, value) : append_repr(runtime_, text, value));
    return runtime_.string(std::move(text));
  }

  Result<Value> lookup(std::string_view name) {
    std::size_t end = std::min(name.find_first_of(".["), name.size());
    TW_ASSIGN_OR_RETURN(Value value, argument(name.substr(0, end)));
    while (end < name.size()) {
      const bool is_index = name[end] == '[';
      const std::size_t start = end + 1;
      end = std::min(is_index ? name.find(']', start) : name.find_first_of(".[", start), name.size());
      const std::string_view part = name.substr(start, end - start);
      if (part.empty()) return template_error("Empty attribute in format string");
      if (is_index) {
        if (end == name.size()) return template_error("Missing ']' in format string");
        ++end;
        if (end < name.size() && name[end] != '.' && name[end] != '[') {
          return template_error("Only '.' or '[' may follow ']' in format field specifier");
        }
        const std::optional<Int> index = all_digits(part) ? read_int(part, 10) : std::nullopt;
        const Value key = index ? Value::integer(*index) : runtime_.string(std::string(part));
        TW_ASSIGN_OR_RETURN(value, get_item(runtime_, value, key));
      } else {
        TW_ASSIGN_OR_RETURN(value, get_attribute(runtime_, value, part));
      }
    }
    return value;
  }

  static bool all_digits(std::string_view text) {
    return text.find_first_not_of("0123456789") == std::string_view::npos;
  }

  Result<Value> argument(std::string_view name) {
    if (name.empty()) {
      if (manual_)
        return template_error("cannot switch from manual field specification to automatic field numbering");
      automatic_ = true;
      return positional(next_++);
    }
    if (all_digits(name)) {
      if (automatic_)
        return template_error("cannot switch from automatic field numbering to manual field specification");
      manual_ = true;
      const std::optional<Int> index = read_int(name, 10);
      return positional(index && *index < INT32_MAX ? static_cast<std::size_t>(*index) : SIZE_MAX);
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    return template_error("format() has no argument named '{}'", name);
  }

  Result<Value> positional(std::size_t index) const {
    if (index < args_.positional.size()) return args_.positional[index];
    return template_error("Replacement index {} out of range for positional args tuple", index);
  }

  Runtime& runtime_;
  const Args& args_;
  const bool markup_;
  std::size_t next_ = 0;
  bool manual_ = false;
  bool automatic_ = false;
};

}  // namespace

Result<Value> format_braces(Runtime& runtime, const Value& format, const Args& args) {
  constexpr int kNesting = 1;  // a field may stand inside a specification, but not inside that one's
  TW_ASSIGN_OR_RETURN(std::string out,
                      BraceFormatter(runtime, args, format.is_markup()).run(format.text(), kNesting + 1));
  return runtime.string(std::move(out), format.is_markup());
}

}  // namespace tw::text::jinja
