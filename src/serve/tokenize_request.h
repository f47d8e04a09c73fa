// POST /tokenize and /detokenize, from JSON to checked requests.
#pragma once

#include <string>
#include <vector>

#include "serve/chat_request.h"
#include "serve/completion_request.h"

namespace tw::serve {

/// A prompt, or messages as for a chat.
struct TokenizeRequest : ChatRequest {
  std::string prompt;
  bool has_prompt = false;
  bool return_strings = false;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<std::int32_t> tokens;
  std::vector<std::string> ignored;
};

std::span<const Field<TokenizeRequest>> tokenize_fields();
std::span<const Field<DetokenizeRequest>> detokenize_fields();

/// Errors as parse_chat_request.
base::Result<TokenizeRequest> parse_tokenize_request(std::string_view body);
base::Result<DetokenizeRequest> parse_detokenize_request(std::string_view body);

}  // namespace tw::serve
