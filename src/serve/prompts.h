// From requests to token ids, and to what the engine is asked for. Internal to src/serve.
#pragma once

#include <optional>
#include <vector>

#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/context.h"

namespace tw::serve {

using Ids = std::vector<std::int32_t>;

/// The conversation as the model's template writes it; without a template, the messages' texts, one per line.
/// Errors: kInvalidArgument with the template's own complaint.
base::Result<std::string> render_chat(const ServedModel& model, const ChatRequest& request);
base::Result<Ids> chat_prompt(const ServedModel& model, const ChatRequest& request);

/// The ids of a prompt. Errors: an id outside the vocabulary.
base::Result<Ids> prompt_ids(const ServedModel& model, std::string_view field, const Prompt& prompt,
                             bool add_special);

/// 400 context_length_exceeded, naming both lengths, when the prompt and `answer` tokens do not fit.
std::optional<ApiError> check_length(const ServedModel& model, std::size_t prompt_tokens,
                                     std::int64_t answer);

/// Everything of the engine's request but the prompt, the grammar and the log probabilities. `fallback`: the
/// answer's length when the request does not tell.
base::Result<infer::GenerateRequest> engine_request(const ServedModel& model, const GenerateFields& fields,
                                                    std::int64_t fallback);

/// The request with the seed of its i-th answer: seed + i, or a random one.
infer::GenerateRequest with_seed(Context& context, infer::GenerateRequest request,
                                 const GenerateFields& fields, int i);

}  // namespace tw::serve
