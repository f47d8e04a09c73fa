// One answer in the making: what the engine keeps for a request from its first step to its last chunk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "infer/sampler.h"
#include "infer/stop_matcher.h"
#include "text/token_mask.h"

namespace tw::infer {

/// Used by the engine's thread, and inside a step by the one worker that has its output row.
class ActiveRequest {
 public:
  ActiveRequest(Ticket ticket, GenerateRequest request, Sink sink, const text::Tokenizer& tokenizer,
                const std::shared_ptr<const text::TokenTrie>& trie);

  Ticket ticket() const { return ticket_; }
  const GenerateRequest& request() const { return request_; }
  Timings& timings() { return timings_; }

  /// Inside a step: draws the next token from the row's logits [V], which it changes.
  void sample(std::span<float> logits, SamplerWorkspace& workspace);
  /// Inside a step: the prompt's token at `position` as seen by the row before it.
  void score(std::int64_t position, std::span<const float> logits, SamplerWorkspace& workspace);
  /// Adds a row's hidden state [D] to the mean that `embed` asks for.
  void add_hidden(std::span<const float> hidden);

  /// After a step: takes in the token that sample() drew. Returns it if the sequence goes on, or nothing when
  /// the answer is complete and its last chunk was sent.
  std::optional<std::int32_t> take_sampled(std::int64_t cached_tokens);
  /// Sends the last chunk.
  void finish(FinishReason reason, std::int64_t cached_tokens, const std::string& error = {});
  bool finished() const { return finished_; }

 private:
  void send(Chunk chunk, std::int64_t cached_tokens);
  bool ends_answer(std::int32_t token) const;
  /// Why the answer ends with this token, if it does; updates grammar and counts.
  std::optional<FinishReason> end_after(std::int32_t token);

  Ticket ticket_;
  GenerateRequest request_;
  Sink sink_;
  const text::Tokenizer& tokenizer_;
  text::StreamingDetokenizer detokenizer_;
  StopMatcher stop_;
  std::optional<text::GrammarMatcher> matcher_;
  std::vector<std::uint32_t> mask_;
  TokenCounts counts_;
  SampleOutput sampled_;
  std::vector<std::optional<TokenLogprob>> prompt_logprobs_;
  std::vector<double> hidden_sum_;
  std::int64_t generated_ = 0;
  bool finished_ = false;
  Timings timings_;
};

}  // namespace tw::infer
