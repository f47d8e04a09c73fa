#include "base/json.h"

#include <algorithm>

namespace tw::base {
namespace {

/// Where the nesting of brackets outside strings first passes `limit`, or npos.
std::size_t offset_past_depth(std::string_view text, int limit) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > limit) return i;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return std::string_view::npos;
}

/// The library's reason without its own prefix, and without the text it had read: that may be megabytes.
std::string reason_of(std::string_view what) {
  if (const std::size_t at = what.find(" - "); at != std::string_view::npos) what.remove_prefix(at + 3);
  return std::string(what.substr(0, what.find("; last read")));
}

/// Where the number stands that does not fit: the library tells its text alone, in quotes.
std::size_t offset_of_number(std::string_view text, std::string_view what) {
  const std::size_t open = what.find('\''), close = what.rfind('\'');
  if (open == std::string_view::npos || close <= open) return 0;
  return std::min(text.find(what.substr(open + 1, close - open - 1)), text.size());
}

template <typename J>
Result<J> parse(std::string_view text, int max_depth) {
  if (const std::size_t at = offset_past_depth(text, max_depth); at != std::string_view::npos) {
    return error(Code::kCorrupt, "JSON is nested deeper than {} levels at byte {}", max_depth, at);
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return error(Code::kCorrupt, "not valid JSON at byte 0: there is nothing");
  try {
    return J::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& e) {
    return error(Code::kCorrupt, "not valid JSON at byte {}: {}", e.byte > 0 ? e.byte - 1 : 0,
                 reason_of(e.what()));
  } catch (const nlohmann::json::out_of_range& e) {
    return error(Code::kCorrupt, "not valid JSON at byte {}: the number is out of range",
                 offset_of_number(text, e.what()));
  } catch (const nlohmann::json::exception& e) {
    return error(Code::kCorrupt, "not valid JSON: {}", e.what());
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) {
  return parse<Json>(text, max_depth);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, int max_depth) {
  return parse<OrderedJson>(text, max_depth);
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string dump_json(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace tw::base
