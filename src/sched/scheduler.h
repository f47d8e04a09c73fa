// The serving policy: which tokens of which requests run in the next step, and where their keys and values
// live. Pure: no tensor, no clock, no thread; the same calls in the same order give the same plan. Not
// thread-safe: the engine's thread owns it. `plan` runs the same class in its simulation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace tw::sched {

using RequestId = std::uint64_t;
using TokenId = std::int32_t;
using BlockId = std::int32_t;

/// Which kernels a token's bits come from (DESIGN, Same bits): prompt tokens from prefill, generated ones
/// from decode, also when they are computed again after a preemption.
enum class Phase : std::uint8_t { kPrompt, kGenerated };

struct SchedulerOptions {
  std::int64_t blocks = 0;    ///< KV blocks in the pool
  int block_tokens = 16;      ///< tokens a block holds
  int max_running = 64;       ///< sequences with blocks at one time; never more than max_step_tokens count
  int max_step_tokens = 512;  ///< tokens in one step, all sequences together
  int max_waiting = 256;      ///< requests that wait for their first step
  std::int64_t layers = 1;    ///< of the model, for prompts that go through some of them a step
  std::int64_t max_sequence = 0;  ///< longest prompt + answer, tokens; 0: what the pool holds
  bool prefix_cache = true;
  bool cache_generated = false;  ///< let prefix hits take blocks with generated tokens
};

/// As Request::rows_from: no prompt row's output is wanted.
inline constexpr std::int64_t kNoRows = INT64_MAX;

struct Request {
  RequestId id = 0;
  std::vector<TokenId> prompt;       ///< not empty
  std::int64_t max_new_tokens = 0;   ///< 0: only the prompt is computed (embeddings, scoring)
  std::int64_t rows_from = kNoRows;  ///< the output of prompt rows from here on is wanted: no prefix hit may
                                     ///< skip one
  std::uint64_t cache_salt = 0;  ///< requests share cached blocks only with an equal salt (tenant, adapter)
};

/// A run of consecutive tokens of one sequence, computed in this step. A sequence has at most one slice in a
/// step, and a slice keeps to one phase. The spans are valid until the next call of any method that is not
/// const.
struct Slice {
  RequestId id = 0;
  std::int64_t first = 0;           ///< position of its first token in the sequence
  std::span<const TokenId> tokens;  ///< at least one
  std::span<const BlockId> blocks;  ///< the sequence's table up to this slice's end at least: position p is
                                    ///< in blocks[p / block_tokens]; it may change from step to step
  std::int64_t guesses = 0;         ///< the last so many tokens were only proposed
  Phase phase = Phase::kPrompt;
  bool wants_output = false;  ///< ends at the sequence's last known token (and guesses), in the last layer:
                              ///< sample the next one from it, and from each guess that proves right the one
                              ///< after (or, with max_new_tokens 0, finish it); once for each token
  bool rows_wanted = false;   ///< the output of every row from rows_from on is wanted; each is asked for
                              ///< exactly once, also when it is computed again after a preemption
};

/// Layers [begin, end).
struct Layers {
  std::int64_t begin = 0, end = 1;
};

struct Step {
  std::vector<Slice> slices;
  std::vector<RequestId> preempted;  ///< lost their blocks before this step; they will be recomputed
  std::int64_t tokens = 0;
  /// What slices of phase kPrompt go through, each token of the others through all layers. The steps that
  /// follow have the same slices of prompts, in this order, until they are through the last layer; only then
  /// are their tokens computed. Those that were cancelled or lost their blocks meanwhile are missing.
  Layers prompt_layers;
  bool through = true;  ///< prompt_layers has the last one
};

/// A sequence whose next step computes its last token alone. Spans are valid as a Slice's.
struct Decoding {
  std::span<const TokenId> tokens;  ///< all, the last one included
  std::span<const BlockId> blocks;  ///< of the tokens before the last at least
};

struct SchedulerStats {
  std::int64_t waiting = 0, running = 0;
  std::int64_t blocks_used = 0,
               blocks_total = 0;  ///< used: held by a sequence (cached free ones do not count)
  std::uint64_t prefix_queries = 0, prefix_hits = 0;  ///< tokens asked for and found
  std::uint64_t preemptions = 0;
};

/// What prompts may take of a step beside running sequences.
struct PromptShare {
  std::int64_t tokens = kNoLimit;  ///< most of a chunk that begins
  /// Most layers times (tokens of the chunk + kLayerTokens).
  std::int64_t layer_tokens = kNoLimit;

  static constexpr std::int64_t kNoLimit = INT64_MAX;
  /// What a layer costs besides its tokens, its weights being read and unpacked, in tokens.
  static constexpr std::int64_t kLayerTokens = 64;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();

  /// Queues a request. Errors: kResourceExhausted when the queue is full; kInvalidArgument when it can never
  /// run (prompt + max_new_tokens above max_sequence, or more blocks than the pool has), naming both numbers.
  base::Status add(Request request);

  /// Forgets the request at once and frees its blocks; unknown ids are ignored.
  void cancel(RequestId id);

  /// Plans the next step: running sequences first (one token each, oldest first), then chunks of prompts in
  /// order of arrival, within max_step_tokens, so that neither starves (the rule is in step.cc). Beside
  /// running sequences a new chunk has at most `share.tokens` (at least one) and goes through so many layers
  /// as `share` says (at least one), so that a step does not become too long for those who read along; so is
  /// what a preempted answer computes again, by all layers.
  /// Empty when nothing can or need be done: every request waits for append() or finish(). Costs O(slices +
  /// blocks given out or newly found).
  Step next(const PromptShare& share = {});

  /// After the step ran: its tokens are computed (their full blocks become shareable).
  /// REQUIRES: `step` came from the last next(); requests cancelled since are skipped.
  void computed(const Step& step);

  /// Guesses of the tokens that follow a sequence's last known one: the next step computes them along with it
  /// as far as there is room, and forgets them. No effect unless that token is all the sequence has to
  /// compute.
  void propose(RequestId id, std::span<const TokenId> guesses);

  /// Nothing unless a running sequence has just one token to compute, a generated one.
  std::optional<Decoding> decoding(RequestId id) const;

  /// Whether it has begun; false for unknown ids.
  bool running(RequestId id) const;

  /// The token sampled for a sequence. A later step computes it, unless the last one did so as a guess: then
  /// the token sampled from that guess's row follows at once. REQUIRES: id is known.
  void append(RequestId id, TokenId token);

  /// The sequence is complete: its blocks become free (and stay findable by prefix until they are needed).
  /// Unknown ids are ignored.
  void finish(RequestId id);

  /// Tokens of the prompt that were found in the prefix cache when the request first ran; 0 before and for
  /// unknown ids.
  std::int64_t cached_tokens(RequestId id) const;

  bool idle() const;  ///< nothing waits, nothing runs
  SchedulerStats stats() const;

  /// Checks all invariants by TW_CHECK. O(everything): for tests.
  void verify() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw::sched
