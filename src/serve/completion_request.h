// POST /v1/completions and /v1/embeddings, from JSON to checked requests.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "serve/generate_fields.h"

namespace tw::serve {

/// A prompt is a text or token ids.
using Prompt = std::variant<std::string, std::vector<std::int32_t>>;

struct CompletionRequest : GenerateFields {
  std::vector<Prompt> prompts;
  bool echo = false;
  int logprobs = -1;  ///< -1: none
};

struct EmbeddingRequest {
  std::string model;
  std::vector<Prompt> inputs;
  bool base64 = false;
  std::int64_t dimensions = 0;  ///< 0: all
  std::vector<std::string> ignored;
};

std::span<const Field<CompletionRequest>> completion_fields();
std::span<const Field<EmbeddingRequest>> embedding_fields();

/// Errors as parse_chat_request.
base::Result<CompletionRequest> parse_completion_request(std::string_view body,
                                                         const infer::SamplingParams& defaults);
base::Result<EmbeddingRequest> parse_embedding_request(std::string_view body);

/// A text, a list of texts, a list of ids or a list of such lists.
base::Result<std::vector<Prompt>> parse_prompts(std::string_view field, const Value& value);

}  // namespace tw::serve
