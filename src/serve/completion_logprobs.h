// The logprobs object of /v1/completions: four lists with one entry per token. Internal to src/serve.
#pragma once

#include <cstdint>
#include <optional>

#include "serve/answer.h"

namespace tw::serve {

class CompletionLogprobs {
 public:
  /// `top`: how many of the most likely tokens are told beside the token itself.
  CompletionLogprobs(const text::Tokenizer& tokenizer, int top) : tokenizer_(tokenizer), top_(top) {}

  /// nullopt for a token whose probability is not known (the first of a prompt).
  void add(std::int32_t token, const std::optional<infer::TokenLogprob>& logprob);

  /// {tokens, token_logprobs, top_logprobs, text_offset} of the tokens since the last take(); offsets count
  /// characters from the start of the whole text.
  base::OrderedJson take();

 private:
  const text::Tokenizer& tokenizer_;
  const int top_;
  std::int64_t offset_ = 0;
  base::OrderedJson tokens_ = base::OrderedJson::array(), logprobs_ = base::OrderedJson::array(),
                    tops_ = base::OrderedJson::array(), offsets_ = base::OrderedJson::array();
};

}  // namespace tw::serve
