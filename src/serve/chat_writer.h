// Writes the answer of /v1/chat/completions, whole or as a stream. Internal to src/serve.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/answer.h"
#include "serve/generation.h"
#include "text/tool_call.h"

namespace tw::serve {

struct ChatAnswer {
  AnswerHead head;
  bool stream = false, include_usage = false, usage_each_chunk = false, include_stop = false;
  bool logprobs = false;
  int top_logprobs = 0;
  int n = 1;
  std::optional<text::ToolStyle> tools;  ///< look for calls in this style
  std::vector<std::string> tool_names;
  bool parallel_tool_calls = true;
  std::vector<std::string> ignored;
};

std::unique_ptr<AnswerWriter> make_chat_writer(std::shared_ptr<Context> context, ModelPtr model,
                                               ExchangePtr exchange, ChatAnswer answer);

}  // namespace tw::serve
