// Writes the answer of /v1/completions, whole or as a stream. Internal to src/serve.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/answer.h"
#include "serve/generation.h"

namespace tw::serve {

struct CompletionAnswer {
  AnswerHead head;
  bool stream = false, include_usage = false, usage_each_chunk = false, include_stop = false, echo = false;
  int logprobs = -1;
  int n = 1;                                       ///< sequences per prompt; sequence = prompt x n + i
  std::vector<std::vector<std::int32_t>> prompts;  ///< with echo and logprobs: their ids
  std::vector<std::string> prompt_texts;           ///< with echo
  std::size_t sequences = 1;
  std::vector<std::string> ignored;
};

std::unique_ptr<AnswerWriter> make_completion_writer(ModelPtr model, ExchangePtr exchange,
                                                     CompletionAnswer answer);

}  // namespace tw::serve
