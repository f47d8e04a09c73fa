#include "serve/chat_request.h"

#include <algorithm>
#include <array>

#include "serve/errors.h"

namespace tw::serve {
namespace {

constexpr int kMaxTopLogprobs = 20;

base::Status store_messages(ChatRequest& request, const Value& value) {
  TW_ASSIGN_OR_RETURN(request.messages, normalize_messages(value));
  return base::Ok{};
}

base::Status store_tools(ChatRequest& request, const Value& value) {
  TW_RETURN_IF_ERROR(check_tools(value));
  request.tools = value;
  return base::Ok{};
}

/// The name inside {"type": "function", "function": {"name": ...}}, or empty.
std::string function_name(const Value& value) {
  if (!value.is_object()) return {};
  const auto function = value.find("function");
  if (function == value.end() || !function->is_object()) return {};
  const auto name = function->find("name");
  return name != function->end() && name->is_string() ? name->get<std::string>() : std::string();
}

base::Status store_tool_choice(ChatRequest& request, const Value& value) {
  const std::string word = value.is_string() ? value.get<std::string>() : std::string();
  if (word == "none")
    request.tool_choice = ToolChoice::kNone;
  else if (word == "auto")
    request.tool_choice = ToolChoice::kAuto;
  else if (word == "required")
    request.tool_choice = ToolChoice::kRequired;
  else if (request.tool_name = function_name(value); !request.tool_name.empty())
    request.tool_choice = ToolChoice::kNamed;
  else {
    return field_error("tool_choice",
                       fmt::format("tool_choice must be none, auto, required or {{\"type\": \"function\", "
                                   "\"function\": {{\"name\": ...}}}}, but is {}",
                                   preview(value)));
  }
  return base::Ok{};
}

template <auto member>
base::Status store(ChatRequest& request, const Value& value) {
  using T = std::remove_cvref_t<decltype(request.*member)>;
  request.*member = value.get<T>();
  return base::Ok{};
}

base::Status store_max_completion_tokens(ChatRequest& request, const Value& value) {
  request.max_tokens = static_cast<std::int64_t>(value.get<double>());
  request.has_max_completion_tokens = true;
  return base::Ok{};
}

/// The newer name goes first, whichever comes first in the document.
base::Status store_max_tokens(ChatRequest& request, const Value& value) {
  if (!request.has_max_completion_tokens) request.max_tokens = static_cast<std::int64_t>(value.get<double>());
  return base::Ok{};
}

using Row = Field<ChatRequest>;

constexpr std::array kRows = {
    Row{{"messages", FieldType::kArray, 1, 4096,
         "the conversation: role system, developer, user, assistant or tool"},
        store_messages},
    Row{{"max_completion_tokens", FieldType::kInteger, 1, 2147483647,
         "newer name of max_tokens, and goes before it"},
        store_max_completion_tokens},
    Row{{"max_tokens", FieldType::kInteger, 1, 2147483647,
         "tokens of the answer at most; it also ends where the context does"},
        store_max_tokens},
    Row{{"logprobs", FieldType::kBool, 0, 0, "natural logarithms of the tokens' probabilities"},
        store<&ChatRequest::logprobs>},
    Row{{"top_logprobs", FieldType::kInteger, 0, kMaxTopLogprobs,
         "with logprobs: also of the most likely ones"},
        store<&ChatRequest::top_logprobs>},
    Row{{"tools", FieldType::kArray, 0, 128, "functions that the model may call"}, store_tools},
    Row{{"tool_choice", FieldType::kAny, 0, 0, "none, auto, required, or the name of one function"},
        store_tool_choice},
    Row{{"parallel_tool_calls", FieldType::kBool, 0, 0, "false: only the first call of an answer is kept"},
        store<&ChatRequest::parallel_tool_calls>},
    Row{{"chat_template_kwargs", FieldType::kObject, 0, 0, "more variables for the chat template"},
        store<&ChatRequest::template_arguments>},
    Row{{"add_generation_prompt", FieldType::kBool, 0, 0, "open the assistant's turn (default true)"},
        store<&ChatRequest::add_generation_prompt>},
    Row{{"continue_final_message", FieldType::kBool, 0, 0,
         "go on writing the last message instead of answering it"},
        store<&ChatRequest::continue_final_message>},
};

base::Status check_tool_choice(const ChatRequest& request) {
  if (request.tool_choice == ToolChoice::kAuto || request.tool_choice == ToolChoice::kNone) return base::Ok{};
  if (!request.tools.is_array() || request.tools.empty()) {
    return field_error("tool_choice", "tool_choice asks for a tool, but tools is missing or empty");
  }
  const auto has_name = [&](const Value& tool) { return function_name(tool) == request.tool_name; };
  if (request.tool_choice == ToolChoice::kNamed && std::ranges::none_of(request.tools, has_name)) {
    return field_error("tool_choice",
                       fmt::format("tool_choice names the function \"{}\", which is not among tools",
                                   request.tool_name.substr(0, 64)));
  }
  return base::Ok{};
}

base::Status check_together(const ChatRequest& request) {
  if (request.messages.is_null())
    return field_error("messages", "messages is missing: send the conversation");
  if (request.top_logprobs > 0 && !request.logprobs) {
    return field_error("top_logprobs", "top_logprobs needs logprobs: true");
  }
  const bool last_is_assistant = request.messages.back()["role"] == "assistant";
  if (request.continue_final_message && (request.add_generation_prompt || !last_is_assistant)) {
    return field_error("continue_final_message",
                       "continue_final_message needs a last message of the assistant and "
                       "add_generation_prompt: false");
  }
  if (request.uses_tools() && request.tool_choice != ToolChoice::kAuto &&
      request.constraint.kind != Constraint::Kind::kNone) {
    return field_error("tool_choice",
                       fmt::format("tool_choice and {} both constrain the answer: send one of them",
                                   request.constraint.field));
  }
  return check_tool_choice(request);
}

}  // namespace

std::span<const Field<ChatRequest>> chat_fields() {
  return kRows;
}

base::Status check_tools(const Value& tools) {
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string name = function_name(tools[i]);
    const bool good = !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
    });
    if (!good) {
      return field_error(
          "tools",
          fmt::format("tools[{}] must be {{\"type\": \"function\", \"function\": {{\"name\": ...}}}} "
                      "with a name of 1 to 64 letters, digits, '_', '-' or '.'",
                      i));
    }
    const Value& function = tools[i]["function"];
    const auto parameters = function.find("parameters");
    if (parameters != function.end() && !parameters->is_object() && !parameters->is_null()) {
      return field_error("tools", fmt::format("tools[{}].function.parameters must be a JSON schema", i));
    }
  }
  return base::Ok{};
}

base::Result<ChatRequest> parse_chat_request(std::string_view text, const infer::SamplingParams& defaults) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  ChatRequest request;
  request.sampling = defaults;
  TW_RETURN_IF_ERROR(read_fields(body, chat_fields(), generate_fields(), request, request.ignored));
  TW_RETURN_IF_ERROR(check_together(request));
  return request;
}

}  // namespace tw::serve
