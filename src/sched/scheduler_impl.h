// The inside of Scheduler, in three files: scheduler.cc (what callers report), step.cc (who runs next),
// admission.cc (who gets blocks, and which of them are found in the prefix cache).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sched/block_pool.h"
#include "sched/scheduler.h"
#include "sched/sequence.h"

namespace tw::sched {

/// Why it cannot lock up: only the youngest running sequence is ever preempted, so the oldest keeps its
/// blocks and gets a slice in every step until it is finished; alone, it fits the pool, since add() checked
/// that; and with nothing running the oldest waiting one is always admitted.
struct Scheduler::Impl {
  explicit Impl(const SchedulerOptions& given);

  // scheduler.cc
  base::Status check(const Request& request) const;
  Sequence* find(RequestId id) const;
  void remove(RequestId id);
  void release_blocks(Sequence& sequence);
  void slice_computed(Sequence& sequence, const Slice& slice);
  void publish_full_blocks(Sequence& sequence);
  void verify() const;

  // step.cc
  Step next(const PromptShare& share);
  void plan_decodes(Step& step);
  void plan_chunks(Step& step, const PromptShare& share, bool alone);
  void go_on_with_chunks(Step& step);
  void choose_layers(Step& step, const PromptShare& share, bool alone);
  bool make_room(Sequence& sequence, Step& step);
  void preempt(Sequence& sequence, Step& step);
  void add_guesses(Sequence& sequence, Step& step);
  void add_slice(Sequence& sequence, std::int64_t tokens, Step& step) const;

  // admission.cc
  std::size_t shareable_blocks(const Sequence& sequence) const;
  bool look_up(Sequence& sequence);
  bool computed_by_another(const Sequence& sequence) const;
  bool admit(Sequence& sequence, bool found_more);
  void take_blocks(Sequence& sequence);
  std::int64_t blocks_for(std::int64_t tokens) const;

  SchedulerOptions options;
  BlockPool pool;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences;
  std::map<std::uint64_t, Sequence*> waiting, running;  ///< by order of arrival
  std::vector<std::uint64_t> in_progress;  ///< hashes of the blocks at which this step's prompt slices begin
  /// A prompt's tokens that are through layers_done of the layers.
  struct Chunk {
    Sequence* sequence;
    std::int64_t tokens;
  };
  std::vector<Chunk> in_layers;  ///< empty: none are under way
  std::int64_t layers_done = 0;
  std::uint64_t last_order = 0;
  std::int64_t never_admitted = 0;  ///< of those waiting
  SchedulerStats counters;          ///< only the sums; the rest is filled in by stats()
};

}  // namespace tw::sched
