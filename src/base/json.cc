#include "base/json.h"

namespace tw::base {
namespace {

/// The deepest nesting of brackets outside strings, and the offset where it first passes `limit` (or npos).
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

template <typename J>
Result<J> parse(std::string_view text, int max_depth) {
  if (const std::size_t at = offset_past_depth(text, max_depth); at != std::string_view::npos) {
    return error(Code::kCorrupt, "JSON is nested deeper than {} levels at byte {}", max_depth, at);
  }
  try {
    return J::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& e) {
    return error(Code::kCorrupt, "not valid JSON at byte {}: {}", e.byte, e.what());
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
