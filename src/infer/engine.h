// The engine: requests in, tokens out. One thread of its own runs sched's policy step by step over the model
// on a Team of workers: continuous batching, chunked prefill, prefix cache, sampling, stop strings, grammars.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/dtype_enum.h"
#include "base/result.h"
#include "infer/sampling_params.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace tw::model {
class Adapter;
class LoadedModel;
}  // namespace tw::model

namespace tw::infer {

using Clock = std::chrono::steady_clock;

enum class FinishReason { kStop, kLength, kAborted, kError };

struct GenerateRequest {
  std::vector<std::int32_t> prompt;  ///< token ids, not empty, each below the vocabulary size
  SamplingParams sampling;
  std::int64_t max_tokens = 16;   ///< 0 with prompt_logprobs: only the prompt is scored
  std::vector<std::string> stop;  ///< the answer ends before the first of these; the text of it is not sent
  bool ignore_eos = false;
  bool skip_special = true;      ///< leave control tokens out of the text
  int logprobs = -1;             ///< -1: none; k: each token's, and the k most likely with it
  bool prompt_logprobs = false;  ///< also for each prompt token but the first (k = logprobs)
  std::int64_t prompt_logprobs_from =
      1;  ///< or for those from here on: what is before may come from the cache
  std::shared_ptr<const text::Grammar> grammar;  ///< null: free text
  bool embed = false;                            ///< the mean of the final hidden states instead of an answer
  std::uint64_t cache_salt = 0;
  /// What load_adapter of this engine gave; null: the base model. It is kept until the last chunk has come.
  std::shared_ptr<const model::Adapter> adapter;
  std::string adapter_name;  ///< for EngineStats
};

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;  ///< natural log, of the model's own distribution (before sampling's changes)
  std::vector<std::pair<std::int32_t, float>> top;  ///< most likely first
};

struct Timings {
  Clock::time_point arrived, scheduled, first_token, finished;
};

/// A piece of an answer. Text is always whole UTF-8 characters; pieces joined are the answer.
struct Chunk {
  std::string text;
  std::vector<std::int32_t> tokens;    ///< new tokens since the last chunk (their text may come later)
  std::vector<TokenLogprob> logprobs;  ///< one for each of `tokens`, when asked for
  std::vector<std::optional<TokenLogprob>>
      prompt_logprobs;  ///< in the first chunk, one per prompt token; those not asked for have none
  std::optional<FinishReason> finish;  ///< set in the last chunk, which always comes, exactly once
  std::string stop_text;               ///< the stop string that ended it, if one did
  std::string error;                   ///< with FinishReason::kError
  bool grammar_failed = false;         ///< with FinishReason::kError: the request's grammar is the reason
  std::int64_t prompt_tokens = 0, generated_tokens = 0, cached_tokens = 0;  ///< totals so far
  std::vector<float> embedding;                                             ///< width values, with `embed`
  Timings timings;                                                          ///< complete in the last chunk
};

/// Called on the engine's thread, in order. Must not block and must not call back into the engine.
using Sink = std::function<void(const Chunk&)>;

using Ticket = std::uint64_t;  ///< names a request inside the engine

struct EngineOptions {
  int threads = 0;            ///< 0: what the machine and the cgroup allow
  std::vector<int> cpus;      ///< processors that the threads keep to; empty: all that this process may use
  std::int64_t context = 0;   ///< 0: the model's, as far as kv_bytes allow
  std::int64_t kv_bytes = 0;  ///< 0: chosen from free memory
  base::DType kv_type = base::DType::kF16;  ///< kF16, kBF16, kI8 or kF32
  int max_running = 64, max_waiting = 256, max_step_tokens = 512;
  double decode_stretch =
      2;  ///< how many times longer prompts may make a step of answers; 0: any (StepBudget)
  bool prefix_cache = true, cache_generated = false;
  bool speculate =
      false;  ///< guess tokens from the text so far (PromptLookup); answers stay the same, bit for bit
  /// Guesses where the text so far does not (Drafter); answers stay the same, bit for bit. May be null.
  std::shared_ptr<const model::LoadedModel> draft;
  std::int64_t draft_tokens = 0;  ///< how many it guesses; 0: as many as pay
  /// How many threads run step n (0: those that have a processor to themselves, as when it is empty).
  std::function<int(std::uint64_t n)> step_threads;
};

/// How keys and values are kept; the same for the engine's life.
struct CacheConfig {
  std::int64_t block_tokens = 0, blocks = 0, bytes = 0, token_bytes = 0;
  base::DType type = base::DType::kF16;
  bool prefix_cache = false;
};

struct EngineStats {
  CacheConfig cache;
  std::int64_t running = 0, waiting = 0;
  std::set<std::string> running_adapters, waiting_adapters;  ///< names of those that such sequences have
  std::int64_t most_running = 0;                             ///< sequences of a batch
  double kv_usage = 0;                                       ///< 0 to 1
  std::uint64_t prefix_queries = 0, prefix_hits = 0;         ///< tokens
  std::uint64_t preemptions = 0;
  std::uint64_t prompt_tokens = 0, generated_tokens = 0, steps = 0;
  std::uint64_t guesses = 0, guessed_tokens = 0, accepted_tokens = 0;  ///< speculation
};

class Engine {
 public:
  /// Checks that the memory is there, allocates it, starts the workers. `on_step` (may be empty) is called on
  /// the engine's thread after each step with the number of tokens in it.
  static base::Result<std::unique_ptr<Engine>> create(std::shared_ptr<const model::LoadedModel> model,
                                                      const EngineOptions& options,
                                                      std::function<void(std::int64_t tokens)> on_step = {});
  virtual ~Engine() = default;

  /// Thread-safe. Errors: kInvalidArgument (empty or too long prompt, token out of range: the message names
  /// both lengths), kUnsupported (nothing of the grammar can be written), kResourceExhausted (queue full),
  /// kUnavailable (stopping). After an error the sink is never called.
  virtual base::Result<Ticket> submit(GenerateRequest request, Sink sink) = 0;

  /// Thread-safe; the sink gets its last chunk (kAborted) within a step. Unknown tickets are ignored.
  virtual void cancel(Ticket ticket) = 0;

  /// Reads a LoRA adapter's folder (peft's format) for this engine's model, on the caller's thread: requests
  /// that run go on meanwhile. Thread-safe. Errors as model::Adapter::load's.
  virtual base::Result<std::shared_ptr<const model::Adapter>> load_adapter(
      const std::string& folder) const = 0;

  virtual EngineStats stats() const = 0;        ///< thread-safe
  virtual std::int64_t context() const = 0;     ///< longest prompt + answer
  virtual std::string description() const = 0;  ///< kernel set, threads, KV memory: one line for people

  /// Ends all requests with kAborted and joins the threads. Also called by the destructor.
  virtual void stop() = 0;
};

}  // namespace tw::infer
