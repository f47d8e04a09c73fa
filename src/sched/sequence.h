// One request inside the scheduler: its tokens so far, how many of them are computed, and the blocks they are
// in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "sched/block_pool.h"
#include "sched/scheduler.h"

namespace tw::sched {

/// A cached block that a waiting sequence would take, as long as it still has this serial number.
struct Hit {
  BlockId block = kNoBlock;
  std::uint64_t serial = 0;
};

struct Sequence {
  RequestId id = 0;
  std::uint64_t order = 0;      ///< of arrival; age decides who goes first and who is preempted
  std::vector<TokenId> tokens;  ///< the prompt, then the answer so far
  std::int64_t prompt_tokens = 0, max_new_tokens = 0;
  std::int64_t rows_from = kNoRows;
  std::uint64_t cache_salt = 0;

  std::int64_t computed = 0;    ///< leading tokens whose keys and values are in `blocks`
  std::vector<BlockId> blocks;  ///< empty while it waits
  bool running = false, was_admitted = false;
  std::int64_t cached_tokens = 0;  ///< prefix hits of the first admission
  std::int64_t outputs_done = 0;   ///< length of the sequence when its last output was computed
  std::int64_t rows_done =
      0;  ///< leading prompt rows that are done with, if any is wanted: the output was delivered

  std::vector<TokenId> guesses;   ///< proposed for the next step
  std::vector<TokenId> in_step;   ///< the last token and the guesses that the step at hand computes
  std::size_t confirmed = 0;      ///< guesses of in_step that were appended since it ran
  bool guesses_computed = false;  ///< in_step ran, and all of its tokens appended so far agree

  std::vector<std::uint64_t> hashes;  ///< chain hashes of the full blocks that may be shared
  std::size_t shared = 0;             ///< leading blocks that are in the pool's index

  std::vector<Hit> hits;  ///< while waiting: leading blocks found in the cache so far
  std::int64_t blocks_short =
      0;  ///< while waiting: blocks that the last attempt to admit it needed; 0: not tried

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t left() const { return length() - computed; }

  /// Leading prompt rows that the prefix cache may stand for.
  std::int64_t rows_to_skip() const { return std::max(rows_from, rows_done); }

  /// One generated token to compute, as in every step of a running answer.
  bool decoding() const { return left() == 1 && computed >= prompt_tokens; }

  /// The most tokens that one slice may take: it keeps to one phase, to the blocks at hand, and to rows that
  /// are either all new or all delivered before.
  std::int64_t slice_limit(int block_tokens) const {
    std::int64_t end = std::min(length(), static_cast<std::int64_t>(blocks.size()) * block_tokens);
    if (computed < prompt_tokens) end = std::min(end, prompt_tokens);
    if (computed < rows_done) end = std::min(end, rows_done);
    return end - computed;
  }

  /// Block number `index` as the prefix index knows it. REQUIRES: its tokens are known and it has a hash.
  BlockContent content(std::size_t index, std::uint64_t parent, int block_tokens) const {
    const auto size = static_cast<std::size_t>(block_tokens);
    return {hashes[index], parent, cache_salt, std::span(tokens).subspan(index * size, size)};
  }
};

}  // namespace tw::sched
