// Who runs in the next step. One token each for running answers, oldest first; the rest of the budget is for
// prompts (and for what preempted sequences compute again), by halves:
//   in order of age, each takes what it needs, but at most half of what is left (kMinChunk may always be
//   taken); what is left after the youngest is then handed out once more, oldest first.
// A lone prompt so gets everything, a huge one leaves half of the step to those behind it, and the oldest
// always moves on.
#include <algorithm>

#include "base/check.h"
#include "sched/scheduler_impl.h"

namespace tw::sched {
namespace {

/// Chunks below this cost a step more than they bring.
constexpr std::int64_t kMinChunk = 32;
/// What an answer computes again in a step at least.
constexpr std::int64_t kMinAgain = 8;

/// The first round of the rule above. Returns the tokens taken.
std::int64_t first_share(std::int64_t wanted, std::int64_t budget) {
  return std::min({wanted, budget, std::max((budget + 1) / 2, kMinChunk)});
}

}  // namespace

Step Scheduler::Impl::next(const PromptShare& share) {
  Step step;
  plan_decodes(step);
  const bool alone = step.tokens == 0;
  go_on_with_chunks(step);
  plan_chunks(step, share, alone);
  choose_layers(step, share, alone);
  return step;
}

/// The layers of this step's prompts. `alone`: nobody reads along.
void Scheduler::Impl::choose_layers(Step& step, const PromptShare& share, bool alone) {
  std::int64_t tokens = 0;
  for (const Chunk& chunk : in_layers) tokens += chunk.tokens;
  const std::int64_t left = options.layers - layers_done;
  const std::int64_t fitting = share.layer_tokens / (tokens + PromptShare::kLayerTokens);
  const std::int64_t count = alone || tokens == 0 ? left : std::clamp<std::int64_t>(fitting, 1, left);
  step.prompt_layers = {layers_done, layers_done + count};
  step.through = count == left;
  if (step.through) return;
  for (Slice& slice : step.slices) {
    if (slice.phase == Phase::kPrompt) slice.wants_output = slice.rows_wanted = false;
  }
}

void Scheduler::Impl::go_on_with_chunks(Step& step) {
  for (const Chunk& chunk : in_layers) add_slice(*chunk.sequence, chunk.tokens, step);
}

void Scheduler::Impl::plan_decodes(Step& step) {
  for (auto place = running.begin(); place != running.end();) {
    Sequence& sequence = *place->second;
    if (!sequence.decoding()) {
      ++place;
      continue;
    }
    // Making room ends sequences from the young end of the map, in the worst case with this one.
    if (!make_room(sequence, step)) return;
    add_slice(sequence, 1, step);
    if (!sequence.guesses.empty()) add_guesses(sequence, step);
    ++place;
  }
}

/// Lets the slice that was just added compute guesses too, as far as blocks are free, the answer may go on,
/// and the step has room for one token of every other sequence.
void Scheduler::Impl::add_guesses(Sequence& sequence, Step& step) {
  const std::int64_t others = std::ssize(running);
  std::int64_t count = std::min({std::ssize(sequence.guesses), options.max_step_tokens - step.tokens - others,
                                 sequence.prompt_tokens + sequence.max_new_tokens - 1 - sequence.length()});
  const auto room = [&] { return std::ssize(sequence.blocks) * options.block_tokens - sequence.length(); };
  while (room() < count && pool.available() > 0) sequence.blocks.push_back(pool.allocate());
  count = std::min(count, room());
  if (count > 0) {
    sequence.in_step.assign(1, sequence.tokens.back());
    sequence.in_step.insert(sequence.in_step.end(), sequence.guesses.begin(),
                            sequence.guesses.begin() + count);
    Slice& slice = step.slices.back();
    slice.tokens = sequence.in_step;
    slice.blocks = sequence.blocks;
    slice.guesses = count;
    step.tokens += count;
  }
  sequence.guesses.clear();
}

/// Gives the sequence a block for its next token, if need be by preempting the youngest. False when the
/// sequence was the youngest itself and waits now.
bool Scheduler::Impl::make_room(Sequence& sequence, Step& step) {
  if (sequence.slice_limit(options.block_tokens) > 0) return true;
  while (pool.available() == 0) {
    Sequence& youngest = *running.rbegin()->second;
    preempt(youngest, step);
    if (&youngest == &sequence) return false;
  }
  sequence.blocks.push_back(pool.allocate());
  return true;
}

void Scheduler::Impl::preempt(Sequence& sequence, Step& step) {
  release_blocks(sequence);
  running.erase(sequence.order);
  waiting.emplace(sequence.order, &sequence);
  sequence.running = false;
  ++counters.preemptions;
  step.preempted.push_back(sequence.id);
}

/// Prompts, unless some are on their way through the layers already, and what answers compute again.
void Scheduler::Impl::plan_chunks(Step& step, const PromptShare& share, bool alone) {
  const bool under_way = !in_layers.empty();
  std::vector<Chunk> chunks;
  std::int64_t budget = std::max<std::int64_t>(options.max_step_tokens - step.tokens, 0);
  if (!alone) budget = std::min(budget, std::max<std::int64_t>(share.tokens, 1));
  // These go through all layers at once.
  const std::int64_t again = alone ? budget : std::max(share.layer_tokens / options.layers, kMinAgain);
  const auto limit = [&](const Sequence& sequence) {
    const std::int64_t tokens = sequence.slice_limit(options.block_tokens);
    return sequence.computed < sequence.prompt_tokens ? tokens : std::min(tokens, again);
  };
  in_progress.clear();
  const auto take = [&](Sequence& sequence) {
    const std::int64_t tokens = first_share(limit(sequence), budget);
    chunks.push_back({&sequence, tokens});
    budget -= tokens;
    const auto block = static_cast<std::size_t>(sequence.computed / options.block_tokens);
    if (block < sequence.hashes.size()) in_progress.push_back(sequence.hashes[block]);
  };
  for (const auto& [order, sequence] : running) {
    if (budget == 0) break;
    if (sequence->decoding() || sequence->left() == 0) continue;
    if (!under_way || sequence->computed >= sequence->prompt_tokens) take(*sequence);
  }
  // Who just lost its blocks would only take them back.
  if (step.preempted.empty() && !under_way) {
    int looked_at = 0;
    for (auto place = waiting.begin(); place != waiting.end() && budget > 0; ++looked_at) {
      if (looked_at == options.max_running || std::ssize(running) == options.max_running) break;
      Sequence& sequence = *(place++)->second;
      const bool found_more = look_up(sequence);
      if (computed_by_another(sequence)) continue;
      if (!admit(sequence, found_more)) break;
      take(sequence);
    }
  }
  for (const Chunk& chunk : chunks) {
    const std::int64_t more = std::min(limit(*chunk.sequence) - chunk.tokens, budget);
    budget -= more;
    add_slice(*chunk.sequence, chunk.tokens + more, step);
    if (step.slices.back().phase == Phase::kPrompt)
      in_layers.push_back({chunk.sequence, chunk.tokens + more});
  }
}

void Scheduler::Impl::add_slice(Sequence& sequence, std::int64_t tokens, Step& step) const {
  const std::int64_t end = sequence.computed + tokens;
  Slice slice;
  slice.id = sequence.id;
  slice.first = sequence.computed;
  slice.tokens = std::span(sequence.tokens)
                     .subspan(static_cast<std::size_t>(sequence.computed), static_cast<std::size_t>(tokens));
  slice.blocks = sequence.blocks;
  slice.phase = sequence.computed < sequence.prompt_tokens ? Phase::kPrompt : Phase::kGenerated;
  slice.wants_output = end == sequence.length() && end > sequence.outputs_done;
  slice.rows_wanted = slice.phase == Phase::kPrompt && end > sequence.rows_to_skip();
  step.tokens += tokens;
  step.slices.push_back(slice);
}

}  // namespace tw::sched
