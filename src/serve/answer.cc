#include "serve/answer.h"

#include <algorithm>

#include "base/utf8.h"
#include "serve/fields.h"

namespace tw::serve {

using Json = base::OrderedJson;

Json AnswerHead::json() const {
  return {{"id", id}, {"object", object}, {"created", created}, {"model", model}};
}

Json Usage::json() const {
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

std::string sse_event(std::string_view json) {
  std::string event;
  event.reserve(json.size() + 8);
  return event.append("data: ").append(json).append("\n\n");
}

std::vector<http::Header> stream_headers(const std::vector<std::string>& ignored) {
  std::vector<http::Header> headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  if (!ignored.empty()) headers.push_back({"X-Tokenworks-Ignored", ignored_header(ignored)});
  return headers;
}

std::string json_string(std::string_view text) {
  return base::dump_json(base::Json(text));
}

Json finish_reason(std::optional<infer::FinishReason> finish) {
  if (!finish) return nullptr;
  switch (*finish) {
    case infer::FinishReason::kStop:
      return "stop";
    case infer::FinishReason::kLength:
      return "length";
    case infer::FinishReason::kAborted:
      return "abort";
    case infer::FinishReason::kError:
      return "error";
  }
  return nullptr;
}

ApiError generation_error(const infer::Chunk& last) {
  if (last.finish == infer::FinishReason::kAborted) {
    return to_api_error(
        base::error(base::Code::kUnavailable, "the server stopped before the answer was complete"));
  }
  if (last.grammar_failed) return to_api_error(base::Error{base::Code::kUnsupported, last.error, {}});
  return to_api_error(base::error(base::Code::kIo, "the answer failed: {}", last.error));
}

double finite_logprob(float logprob) {
  return logprob >= -9999.0F ? static_cast<double>(logprob) : -9999.0;
}

namespace {

Json logprob_entry(const text::Tokenizer& tokenizer, std::int32_t token, float logprob) {
  const std::string& piece = tokenizer.piece(token);
  Json bytes = Json::array();
  for (const char c : piece) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", base::sanitize_utf8(piece)},
          {"logprob", finite_logprob(logprob)},
          {"bytes", std::move(bytes)}};
}

}  // namespace

Json chat_logprob(const text::Tokenizer& tokenizer, const infer::TokenLogprob& token, int count) {
  Json entry = logprob_entry(tokenizer, token.token, token.logprob);
  Json top = Json::array();
  for (std::size_t i = 0; i < token.top.size() && i < static_cast<std::size_t>(count); ++i) {
    top.push_back(logprob_entry(tokenizer, token.top[i].first, token.top[i].second));
  }
  entry["top_logprobs"] = std::move(top);
  return entry;
}

std::string token_label(const text::Tokenizer& tokenizer, std::int32_t token) {
  const std::string& piece = tokenizer.piece(token);
  if (base::is_valid_utf8(piece)) return piece;
  std::string label = "bytes:";
  for (const char c : piece) label += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return label;
}

std::int64_t character_count(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace tw::serve
