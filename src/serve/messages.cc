// The messages of a chat in the form that published templates expect.
#include <algorithm>
#include <array>

#include "serve/chat_request.h"
#include "serve/errors.h"
#include "text/content_parts.h"

namespace tw::serve {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant", "tool"};

base::Error message_error(std::size_t index, std::string_view what) {
  return field_error("messages", fmt::format("messages[{}]{}", index, what));
}

base::Status normalize_content(Value& message, std::size_t index) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    const bool may_miss = message["role"] == "assistant";
    if (!may_miss) return message_error(index, ".content is missing");
    message["content"] = "";
    return base::Ok{};
  }
  if (content->is_string()) return base::Ok{};
  if (!content->is_array()) return message_error(index, ".content must be a string or a list of parts");
  auto joined = text::join_content_parts(*content);
  if (!joined.ok()) {
    base::Error problem =
        message_error(index, fmt::format(".content{} {}", joined.error().where, joined.error().message));
    problem.code = joined.error().code;
    return problem;
  }
  *content = *std::move(joined);
  return base::Ok{};
}

/// Templates print arguments as an object; clients send them as the text of one.
base::Status normalize_call(Value& call, std::size_t index) {
  const auto function = call.is_object() ? call.find("function") : call.end();
  if (!call.is_object() || function == call.end() || !function->is_object() || !function->contains("name") ||
      !(*function)["name"].is_string()) {
    return message_error(index, ".tool_calls has an entry without function.name");
  }
  const auto arguments = function->find("arguments");
  if (arguments == function->end() || arguments->is_null()) {
    (*function)["arguments"] = Value::object();
    return base::Ok{};
  }
  if (!arguments->is_string()) return base::Ok{};
  auto parsed = base::parse_ordered_json(arguments->get_ref<const std::string&>());
  if (!parsed.ok() || !parsed->is_object()) {
    return message_error(index, ".tool_calls has function.arguments that are not the text of a JSON object");
  }
  *arguments = std::move(parsed).value();
  return base::Ok{};
}

base::Status normalize_calls(Value& message, std::size_t index) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end()) return base::Ok{};
  if (calls->is_null() || (calls->is_array() && calls->empty())) {
    message.erase("tool_calls");
    return base::Ok{};
  }
  if (!calls->is_array()) return message_error(index, ".tool_calls must be a list");
  for (Value& call : *calls) {
    TW_RETURN_IF_ERROR(normalize_call(call, index));
    if (!call.contains("type")) call["type"] = "function";
  }
  return base::Ok{};
}

base::Status normalize_message(Value& message, std::size_t index) {
  if (!message.is_object()) return message_error(index, " must be an object with role and content");
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string() ||
      std::ranges::find(kRoles, role->get<std::string>()) == kRoles.end()) {
    return message_error(index, ".role must be system, developer, user, assistant or tool");
  }
  TW_RETURN_IF_ERROR(normalize_content(message, index));
  return normalize_calls(message, index);
}

}  // namespace

base::Result<Value> normalize_messages(const Value& messages) {
  Value result = messages;
  for (std::size_t i = 0; i < result.size(); ++i) TW_RETURN_IF_ERROR(normalize_message(result[i], i));
  return result;
}

}  // namespace tw::serve
