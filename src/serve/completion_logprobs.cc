#include "serve/completion_logprobs.h"

#include <utility>

namespace tw::serve {

void CompletionLogprobs::add(std::int32_t token, const std::optional<infer::TokenLogprob>& logprob) {
  const std::string label = token_label(tokenizer_, token);
  tokens_.push_back(label);
  offsets_.push_back(offset_);
  offset_ += character_count(label);
  if (!logprob) {
    logprobs_.push_back(nullptr);
    tops_.push_back(nullptr);
    return;
  }
  logprobs_.push_back(finite_logprob(logprob->logprob));
  base::OrderedJson top = {{label, finite_logprob(logprob->logprob)}};
  for (std::size_t i = 0; i < logprob->top.size() && i < static_cast<std::size_t>(top_); ++i) {
    top[token_label(tokenizer_, logprob->top[i].first)] = finite_logprob(logprob->top[i].second);
  }
  tops_.push_back(std::move(top));
}

base::OrderedJson CompletionLogprobs::take() {
  const auto cut = [](base::OrderedJson& list) { return std::exchange(list, base::OrderedJson::array()); };
  base::OrderedJson result;
  result["tokens"] = cut(tokens_);
  result["token_logprobs"] = cut(logprobs_);
  result["top_logprobs"] = cut(tops_);
  result["text_offset"] = cut(offsets_);
  return result;
}

}  // namespace tw::serve
