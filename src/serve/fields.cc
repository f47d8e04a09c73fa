#include "serve/fields.h"

#include <cmath>

#include "base/utf8.h"
#include "serve/errors.h"

namespace tw::serve {
namespace {

/// The offset at which some object or list begins its member number kMaxMembers + 1, or npos. Lists are
/// counted apart because they may be long: only what stands between braces is limited.
std::size_t offset_past_members(std::string_view text) {
  std::vector<std::size_t> members;  // per open bracket; npos marks a list
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      members.push_back(c == '{' ? 0 : std::string_view::npos);
    } else if ((c == '}' || c == ']') && !members.empty()) {
      members.pop_back();
    } else if (c == ',' && !members.empty() && members.back() != std::string_view::npos) {
      if (++members.back() >= kMaxMembers) return i;
    }
  }
  return std::string_view::npos;
}

std::string number_text(double value) {
  return value == std::floor(value) ? fmt::format("{:.0f}", value) : fmt::format("{}", value);
}

std::string range_text(const FieldRule& rule, std::string_view unit) {
  const bool low = std::isfinite(rule.low), high = std::isfinite(rule.high);
  const std::string_view space = unit.empty() ? "" : " ";
  if (low && high)
    return fmt::format("{} to {}{}{}", number_text(rule.low), number_text(rule.high), space, unit);
  if (low) return fmt::format("{} or more{}{}", number_text(rule.low), space, unit);
  if (high) return fmt::format("at most {}{}{}", number_text(rule.high), space, unit);
  return {};
}

bool type_matches(FieldType type, const Value& value) {
  switch (type) {
    case FieldType::kBool:
      return value.is_boolean();
    case FieldType::kInteger:
      return value.is_number() && std::floor(value.get<double>()) == value.get<double>();
    case FieldType::kNumber:
      return value.is_number();
    case FieldType::kString:
      return value.is_string();
    case FieldType::kArray:
      return value.is_array();
    case FieldType::kObject:
      return value.is_object();
    case FieldType::kAny:
      return true;
  }
  return false;
}

bool in_range(const FieldRule& rule, const Value& value) {
  double measured = 0;
  if (value.is_number())
    measured = value.get<double>();
  else if (value.is_string())
    measured = static_cast<double>(value.get_ref<const std::string&>().size());
  else if (value.is_array())
    measured = static_cast<double>(value.size());
  else
    return true;
  return rule.type == FieldType::kAny || (measured >= rule.low && measured <= rule.high);
}

}  // namespace

base::Result<Value> parse_body(std::string_view text) {
  if (const std::size_t at = offset_past_members(text); at != std::string_view::npos) {
    return base::error(base::Code::kInvalidArgument,
                       "the request has an object with more than {} members (at byte {}): send fewer",
                       kMaxMembers, at);
  }
  TW_ASSIGN_OR_RETURN(Value body, base::parse_ordered_json(text));
  if (!body.is_object()) {
    return base::error(base::Code::kInvalidArgument, "the request must be a JSON object, but is {}",
                       preview(body));
  }
  return body;
}

std::string describe(const FieldRule& rule) {
  switch (rule.type) {
    case FieldType::kBool:
      return "true or false";
    case FieldType::kInteger: {
      const std::string range = range_text(rule, "");
      return range.empty() ? "an integer" : "an integer from " + range;
    }
    case FieldType::kNumber: {
      const std::string range = range_text(rule, "");
      return range.empty() ? "a number" : "a number from " + range;
    }
    case FieldType::kString: {
      const std::string range = range_text(rule, "bytes");
      return range.empty() ? "a string" : "a string of " + range;
    }
    case FieldType::kArray: {
      const std::string range = range_text(rule, "entries");
      return range.empty() ? "a list" : "a list with " + range;
    }
    case FieldType::kObject:
      return "an object";
    case FieldType::kAny:
      break;
  }
  return std::string(rule.help);
}

std::string preview(const Value& value) {
  if (value.is_array()) return fmt::format("a list with {} entries", value.size());
  if (value.is_object()) return "an object";
  if (value.is_string() && value.get_ref<const std::string&>().size() > 60) {
    return fmt::format("a string of {} bytes", value.get_ref<const std::string&>().size());
  }
  return base::dump_json(value);
}

base::Status check_field(const FieldRule& rule, const Value& value) {
  if (type_matches(rule.type, value) && in_range(rule, value)) return base::Ok{};
  return field_error(rule.name,
                     fmt::format("{} must be {}, but is {}", rule.name, describe(rule), preview(value)));
}

std::string ignored_header(const std::vector<std::string>& names) {
  constexpr std::size_t kMaxNames = 20, kMaxLength = 40;
  std::string header;
  for (std::size_t i = 0; i < names.size() && i < kMaxNames; ++i) {
    if (i > 0) header += ", ";
    for (const char c : names[i].substr(0, kMaxLength)) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '_' || c == '-' || c == '.';
      header += plain ? c : '?';
    }
  }
  if (names.size() > kMaxNames) header += ", ...";
  return header;
}

}  // namespace tw::serve
