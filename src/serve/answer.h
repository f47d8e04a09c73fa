// Pieces that all answers are made of: the head, usage, log probabilities, server-sent events. Internal to
// src/serve.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "infer/engine.h"
#include "serve/context.h"

namespace tw::serve {

/// What every document and every event of one answer begins with.
struct AnswerHead {
  std::string id, object, model;
  std::int64_t created = 0;

  base::OrderedJson json() const;
};

/// Token counts of one HTTP request.
struct Usage {
  std::int64_t prompt = 0, cached = 0, completion = 0;
  base::OrderedJson json() const;
};

/// "data: {...}\n\n"
std::string sse_event(std::string_view json);
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
inline constexpr std::string_view kSseType = "text/event-stream; charset=utf-8";

/// Headers of a stream: caches and proxies must pass it on at once.
std::vector<http::Header> stream_headers(const std::vector<std::string>& ignored);

/// A JSON string literal; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

/// OpenAI's word for how an answer ended; null for nullopt.
base::OrderedJson finish_reason(std::optional<infer::FinishReason> finish);

/// The error that ends an answer early, when a sequence failed or the engine stopped.
ApiError generation_error(const infer::Chunk& last);

/// JSON has no infinity: impossible tokens count as -9999, as in vLLM.
double finite_logprob(float logprob);

/// One entry of chat's logprobs.content: token, logprob, bytes, and the `count` most likely.
base::OrderedJson chat_logprob(const text::Tokenizer& tokenizer, const infer::TokenLogprob& token, int count);

/// The text that names a token in completions' logprobs; bytes that are no UTF-8 are spelled
/// "bytes:\xe2\x80".
std::string token_label(const text::Tokenizer& tokenizer, std::int32_t token);

/// Characters (code points) of a text.
std::int64_t character_count(std::string_view text);

}  // namespace tw::serve
