// POST /v1/chat/completions, from JSON to a checked request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/generate_fields.h"

namespace tw::serve {

enum class ToolChoice { kNone, kAuto, kRequired, kNamed };

struct ChatRequest : GenerateFields {
  Value messages;  ///< as the template wants them: text contents, tool arguments as objects
  Value tools;     ///< list of {"type": "function", "function": {...}}, or null
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::string tool_name;  ///< with kNamed
  bool parallel_tool_calls = true;
  bool has_max_completion_tokens = false;
  bool logprobs = false;
  int top_logprobs = 0;
  Value template_arguments;  ///< chat_template_kwargs, or null
  bool add_generation_prompt = true;
  bool continue_final_message = false;

  bool uses_tools() const { return tools.is_array() && !tools.empty() && tool_choice != ToolChoice::kNone; }
};

std::span<const Field<ChatRequest>> chat_fields();

/// `defaults`: what holds for fields that the request leaves out. Errors: kCorrupt (the text is not JSON),
/// kInvalidArgument and kUnsupported with the field in `where`.
base::Result<ChatRequest> parse_chat_request(std::string_view body, const infer::SamplingParams& defaults);

/// Checks a list of messages and brings it into the form that templates know: content parts joined to text,
/// tool-call arguments parsed. Fields that it does not know are kept.
base::Result<Value> normalize_messages(const Value& messages);

/// Checks the list of tools; every one is a function with a name of 1 to 64 letters, digits, _, - or '.'.
base::Status check_tools(const Value& tools);

}  // namespace tw::serve
