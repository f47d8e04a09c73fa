// One answer in the making: what the engine keeps for a request from its first step to its last chunk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "infer/prompt_lookup.h"
#include "infer/sampler.h"
#include "infer/stop_matcher.h"
#include "text/token_mask.h"

namespace tw::infer {

/// Used by the engine's thread, and inside a step by the one worker that has its output row.
class ActiveRequest {
 public:
  ActiveRequest(Ticket ticket, GenerateRequest request, Sink sink, const text::Tokenizer& tokenizer,
                const std::shared_ptr<const text::TokenTrie>& trie, bool lookup);

  Ticket ticket() const { return ticket_; }
  const GenerateRequest& request() const { return request_; }
  Timings& timings() { return timings_; }
  /// It has its first token.
  bool answering() const { return timings_.first_token != Clock::time_point{}; }

  /// Its next tokens may be guessed.
  bool guessable() const;
  /// Before a step: what may follow the last token by the text so far, at most `limit` tokens (empty: no
  /// guess). Valid until the next call.
  std::span<const std::int32_t> look_up(std::int64_t limit);
  /// A step will compute these guesses too: their rows come after the row to sample from.
  void begin_step(std::span<const std::int32_t> guesses);

  /// Inside a step: draws the next token from the row's logits [V], which it changes. True when it is the one
  /// that was guessed: the next row, the guess's, is then to be sampled from too.
  bool sample(std::span<float> logits, SamplerWorkspace& workspace);
  /// Inside a step: the prompt's token at `position` as seen by the row before it.
  void score(std::int64_t position, std::span<const float> logits, SamplerWorkspace& workspace);
  /// Adds a row's hidden state [D] to the mean that `embed` asks for.
  void add_hidden(std::span<const float> hidden);

  /// After a step: takes in the tokens that sample() drew and sends them. Returns them if the sequence goes
  /// on, or nothing when the answer is complete and its last chunk was sent.
  std::vector<std::int32_t> take_sampled(std::int64_t cached_tokens);
  /// Guesses of the last step, and how many of them came true.
  std::int64_t guessed() const { return std::ssize(guesses_); }
  std::int64_t guessed_right() const { return guessed_right_; }
  bool looked_up() const { return looked_up_; }
  /// Sends the last chunk.
  void finish(FinishReason reason, std::int64_t cached_tokens, const std::string& error = {});
  bool finished() const { return finished_; }

 private:
  void send(Chunk chunk, std::int64_t cached_tokens);
  bool ends_answer(std::int32_t token) const;
  /// Why the answer ends with this token, if it does; updates the grammar.
  std::optional<FinishReason> end_after(const SampleOutput& sampled);
  /// Adds a token to the chunk, its text as far as it is whole, and the finish if it is the last one.
  void take_one(const SampleOutput& sampled, Chunk& chunk);
  /// Says why there was no token.
  void explain_error(Chunk& chunk) const;

  Ticket ticket_;
  GenerateRequest request_;
  Sink sink_;
  const text::Tokenizer& tokenizer_;
  text::StreamingDetokenizer detokenizer_;
  StopMatcher stop_;
  std::optional<text::GrammarMatcher> matcher_;
  std::vector<std::uint32_t> mask_;
  TokenCounts counts_;
  std::optional<PromptLookup> lookup_;  ///< none: not wanted
  bool looked_up_ = false;              ///< the guesses of the step at hand come from there
  std::vector<std::int32_t> guesses_;   ///< that the step at hand computes
  std::int64_t guessed_right_ = 0;
  std::vector<SampleOutput> sampled_;
  std::vector<std::optional<TokenLogprob>> prompt_logprobs_;
  std::vector<double> hidden_sum_;
  std::int64_t generated_ = 0;
  bool finished_ = false;
  Timings timings_;
};

}  // namespace tw::infer
