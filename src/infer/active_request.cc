#include "infer/active_request.h"

#include <fmt/format.h>

namespace tw::infer {
namespace {

text::DetokenizerOptions detokenizer_options(const GenerateRequest& request) {
  // The answer continues the prompt's text, so its own first space is part of it.
  return {.skip_special = request.skip_special, .text_start = false};
}

}  // namespace

ActiveRequest::ActiveRequest(Ticket ticket, GenerateRequest request, Sink sink,
                             const text::Tokenizer& tokenizer,
                             const std::shared_ptr<const text::TokenTrie>& trie, bool lookup)
    : ticket_(ticket),
      request_(std::move(request)),
      sink_(std::move(sink)),
      tokenizer_(tokenizer),
      detokenizer_(tokenizer, detokenizer_options(request_)),
      stop_(request_.stop) {
  if (request_.grammar != nullptr) {
    matcher_.emplace(request_.grammar, trie);
    mask_.resize(trie->mask_words());
  }
  for (const std::int32_t token : request_.prompt) counts_.add_prompt(token);
  if (request_.prompt_logprobs) prompt_logprobs_.resize(request_.prompt.size());
  if (!lookup || matcher_ || request_.max_tokens < 2) return;
  lookup_.emplace();
  for (const std::int32_t token : request_.prompt) lookup_->add(token);
}

bool ActiveRequest::guessable() const {
  // A grammar moves on with each token, outside of the step.
  return !matcher_ && generated_ > 0 && generated_ + 1 < request_.max_tokens;
}

std::span<const std::int32_t> ActiveRequest::look_up(std::int64_t limit) {
  const auto guess = lookup_ && guessable() ? lookup_->guess(limit) : std::span<const std::int32_t>();
  looked_up_ = !guess.empty();
  return guess;
}

void ActiveRequest::begin_step(std::span<const std::int32_t> guesses) {
  guesses_.assign(guesses.begin(), guesses.end());
  sampled_.clear();
}

bool ActiveRequest::sample(std::span<float> logits, SamplerWorkspace& workspace) {
  logits = logits.first(tokenizer_.size());
  if (matcher_) {
    matcher_->fill_mask(mask_);
    if (matcher_->can_end()) {
      for (const std::int32_t token : tokenizer_.end_of_generation()) mask_[token / 32] |= 1U << (token % 32);
    }
  }
  const std::size_t index = sampled_.size();
  const SampleOutput& sampled =
      sampled_.emplace_back(infer::sample({logits, &request_.sampling, &counts_, mask_,
                                           static_cast<std::uint64_t>(generated_) + index, request_.logprobs},
                                          workspace));
  if (sampled.dead_end || ends_answer(sampled.token)) return false;
  counts_.add_answer(sampled.token);
  return index < guesses_.size() && guesses_[index] == sampled.token;
}

void ActiveRequest::score(std::int64_t position, std::span<const float> logits, SamplerWorkspace& workspace) {
  const SampleOutput scored =
      score_token(logits.first(tokenizer_.size()), request_.prompt[position], request_.logprobs, workspace);
  prompt_logprobs_[position] = TokenLogprob{scored.token, scored.logprob, scored.top};
}

void ActiveRequest::add_hidden(std::span<const float> hidden) {
  hidden_sum_.resize(hidden.size());
  for (std::size_t i = 0; i < hidden.size(); ++i) hidden_sum_[i] += hidden[i];
}

bool ActiveRequest::ends_answer(std::int32_t token) const {
  return tokenizer_.is_end_of_generation(token) && (!request_.ignore_eos || matcher_);
}

std::optional<FinishReason> ActiveRequest::end_after(const SampleOutput& sampled) {
  // A vocabulary without an end token leaves nothing to draw after a whole sentence.
  if (sampled.dead_end) return matcher_ && matcher_->can_end() ? FinishReason::kStop : FinishReason::kError;
  if (ends_answer(sampled.token)) return FinishReason::kStop;
  if (matcher_) {
    if (!matcher_->accept(sampled.token)) return FinishReason::kError;
    if (matcher_->must_end()) return FinishReason::kStop;
  }
  return std::nullopt;
}

void ActiveRequest::take_one(const SampleOutput& sampled, Chunk& chunk) {
  if (generated_++ == 0) timings_.first_token = Clock::now();
  const bool is_end = sampled.dead_end || ends_answer(sampled.token);
  std::optional<FinishReason> end = end_after(sampled);
  if (!is_end) {
    chunk.tokens.push_back(sampled.token);
    if (request_.logprobs >= 0) chunk.logprobs.push_back({sampled.token, sampled.logprob, sampled.top});
    chunk.text += stop_.push(detokenizer_.push(sampled.token));
  }
  if (!stop_.stopped() && (end || generated_ >= request_.max_tokens)) {
    chunk.text += stop_.push(detokenizer_.finish());
    chunk.text += stop_.finish();
  }
  if (stop_.stopped()) {
    chunk.stop_text = stop_.stop_text();
    end = FinishReason::kStop;
  } else if (!end && generated_ >= request_.max_tokens) {
    end = FinishReason::kLength;
  }
  if (end == FinishReason::kError) explain_error(chunk);
  chunk.finish = end;
}

/// After Engine::submit's checks a grammar can only be stuck where GrammarMatcher met a limit. (A vocabulary
/// in which a byte occurs inside of tokens only may be stuck, too.)
void ActiveRequest::explain_error(Chunk& chunk) const {
  chunk.grammar_failed = matcher_.has_value();
  chunk.error = chunk.grammar_failed
                    ? fmt::format(
                          "the constraint allows no token after {} tokens of the answer: it is too "
                          "ambiguous, or has texts that this model's vocabulary cannot write",
                          generated_ - 1)
                    : "the model has no token to choose from";
}

std::vector<std::int32_t> ActiveRequest::take_sampled(std::int64_t cached_tokens) {
  Chunk chunk;
  for (std::size_t i = 0; i < sampled_.size() && !chunk.finish; ++i) take_one(sampled_[i], chunk);
  guessed_right_ = std::ssize(sampled_) - 1;
  if (lookup_) {
    for (const std::int32_t token : chunk.tokens) lookup_->add(token);
    if (looked_up_) lookup_->learn(guessed(), guessed_right_);
  }
  const bool ended = chunk.finish.has_value();
  std::vector<std::int32_t> tokens = chunk.tokens;
  send(std::move(chunk), cached_tokens);
  if (ended) tokens.clear();
  return tokens;
}

void ActiveRequest::finish(FinishReason reason, std::int64_t cached_tokens, const std::string& error) {
  if (finished_) return;
  Chunk chunk;
  chunk.finish = reason;
  chunk.error = error;
  if (reason == FinishReason::kAborted) chunk.text = stop_.finish();
  if (request_.embed && !hidden_sum_.empty()) {
    const auto rows = static_cast<double>(request_.prompt.size());
    for (const double sum : hidden_sum_) chunk.embedding.push_back(static_cast<float>(sum / rows));
  }
  send(std::move(chunk), cached_tokens);
}

void ActiveRequest::send(Chunk chunk, std::int64_t cached_tokens) {
  chunk.prompt_tokens = static_cast<std::int64_t>(request_.prompt.size());
  chunk.generated_tokens = generated_;
  chunk.cached_tokens = cached_tokens;
  if (!prompt_logprobs_.empty()) chunk.prompt_logprobs = std::exchange(prompt_logprobs_, {});
  if (chunk.finish) {
    finished_ = true;
    timings_.finished = Clock::now();
    chunk.timings = timings_;
  }
  if (sink_) sink_(chunk);
}

}  // namespace tw::infer
