// Who gets blocks. A sequence is admitted with all the blocks that its known tokens need, less those that the
// prefix cache has, and only if each running sequence could then still take one more block: so admitting
// never causes a preemption within the next block_tokens steps.
#include <algorithm>

#include "base/check.h"
#include "sched/scheduler_impl.h"

namespace tw::sched {

std::int64_t Scheduler::Impl::blocks_for(std::int64_t tokens) const {
  return (tokens + options.block_tokens - 1) / options.block_tokens;
}

/// How many leading blocks may come from the cache. The last known token is always computed, since its output
/// is wanted; so are prompt rows whose output is wanted.
std::size_t Scheduler::Impl::shareable_blocks(const Sequence& sequence) const {
  const std::int64_t tokens = std::min(sequence.length() - 1, sequence.rows_to_skip());
  return std::min(static_cast<std::size_t>(tokens / options.block_tokens), sequence.hashes.size());
}

/// Brings sequence.hits up to date. Costs O(1) and O(1) more for each block found or lost since the last
/// call: blocks are forgotten from the end of a prefix (see BlockPool::release). Returns whether there are
/// more hits than before.
bool Scheduler::Impl::look_up(Sequence& sequence) {
  auto& hits = sequence.hits;
  const auto stale = [&](const Hit& hit) { return pool.serial(hit.block) != hit.serial; };
  const std::size_t before = hits.size();
  while (!hits.empty() && stale(hits.back())) hits.pop_back();
  for (const std::size_t most = shareable_blocks(sequence); hits.size() < most;) {
    const std::uint64_t parent = hits.empty() ? 0 : hits.back().serial;
    const BlockId block = pool.find(sequence.content(hits.size(), parent, options.block_tokens));
    if (block == kNoBlock) break;
    hits.push_back({block, pool.serial(block)});
  }
  return hits.size() > before;
}

/// A slice of this step computes the next block that this sequence would need: waiting for it is cheaper than
/// computing it twice. The sequence moves on as soon as no step works on its next block, so it waits only
/// while somebody makes progress on its behalf.
bool Scheduler::Impl::computed_by_another(const Sequence& sequence) const {
  const std::size_t next = sequence.hits.size();
  return next < shareable_blocks(sequence) && std::ranges::count(in_progress, sequence.hashes[next]) > 0;
}

/// Tries to give a waiting sequence its blocks. REQUIRES: look_up() was called in this step and returned
/// found_more.
bool Scheduler::Impl::admit(Sequence& sequence, bool found_more) {
  const std::int64_t spare = running.empty() ? 0 : std::ssize(running) + 1;
  const bool hopeless = !found_more && pool.available() < sequence.blocks_short + spare;
  if (sequence.blocks_short > 0 && hopeless) return false;
  const auto in_use =
      std::ranges::count_if(sequence.hits, [&](const Hit& hit) { return pool.references(hit.block) > 0; });
  sequence.blocks_short = blocks_for(sequence.length()) - in_use;
  if (pool.available() < sequence.blocks_short + spare) return false;
  take_blocks(sequence);
  return true;
}

void Scheduler::Impl::take_blocks(Sequence& sequence) {
  for (const Hit& hit : sequence.hits) {
    TW_CHECK(pool.serial(hit.block) == hit.serial, "the beginning of a cached prefix outlives its end");
    pool.retain(hit.block);
    sequence.blocks.push_back(hit.block);
  }
  sequence.shared = sequence.blocks.size();
  sequence.computed = std::ssize(sequence.blocks) * options.block_tokens;
  while (std::ssize(sequence.blocks) < blocks_for(sequence.length()))
    sequence.blocks.push_back(pool.allocate());
  if (!sequence.was_admitted) {
    --never_admitted;
    sequence.was_admitted = true;
    sequence.cached_tokens = sequence.computed;
    if (options.prefix_cache && sequence.rows_from > 0) {
      counters.prefix_queries += static_cast<std::uint64_t>(sequence.prompt_tokens);
      counters.prefix_hits += static_cast<std::uint64_t>(sequence.computed);
    }
  }
  sequence.hits = {};
  sequence.blocks_short = 0;
  waiting.erase(sequence.order);
  running.emplace(sequence.order, &sequence);
  sequence.running = true;
}

}  // namespace tw::sched
