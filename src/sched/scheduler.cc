#include "sched/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "sched/scheduler_impl.h"

namespace tw::sched {

using base::Code;
using base::error;

Scheduler::Impl::Impl(const SchedulerOptions& given)
    : options(given), pool(given.blocks, given.block_tokens) {
  TW_CHECK(options.max_running > 0 && options.max_step_tokens > 0,
           "a step needs room for a sequence and a token");
  // Every running sequence can then have at least one token of each step.
  options.max_running = std::min(options.max_running, options.max_step_tokens);
}

base::Status Scheduler::Impl::check(const Request& request) const {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t answer = request.max_new_tokens;
  if (prompt == 0) return error(Code::kInvalidArgument, "the prompt is empty: send at least one token");
  if (answer < 0) return error(Code::kInvalidArgument, "max_new_tokens is {}: send 0 or more", answer);
  if (sequences.contains(request.id)) {
    return error(Code::kInvalidArgument, "request {} is already here: use another id", request.id);
  }
  const std::int64_t most = options.max_sequence;
  if (most > 0 && (prompt > most || answer > most - prompt)) {
    return error(Code::kInvalidArgument,
                 "{} prompt tokens and {} new ones do not fit into a sequence of {}: shorten one of them",
                 prompt, answer, most);
  }
  const std::int64_t room = pool.total() * options.block_tokens;
  if (prompt > room || answer > room - prompt) {
    return error(
        Code::kInvalidArgument,
        "{} prompt tokens and {} new ones do not fit into a KV cache of {} tokens: shorten one of them or "
        "give the cache more memory",
        prompt, answer, room);
  }
  if (never_admitted >= options.max_waiting) {
    return error(Code::kResourceExhausted, "{} requests wait already (the limit is {}): try again later",
                 never_admitted, options.max_waiting);
  }
  return base::Ok{};
}

Sequence* Scheduler::Impl::find(RequestId id) const {
  const auto found = sequences.find(id);
  return found == sequences.end() ? nullptr : found->second.get();
}

void Scheduler::Impl::release_blocks(Sequence& sequence) {
  sequence.guesses.clear();
  sequence.guesses_computed = false;
  while (!sequence.blocks.empty()) {
    pool.release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
  sequence.computed = 0;
  sequence.shared = 0;
  std::erase_if(in_layers, [&](const Chunk& chunk) { return chunk.sequence == &sequence; });
  if (in_layers.empty()) layers_done = 0;
}

void Scheduler::Impl::remove(RequestId id) {
  Sequence* sequence = find(id);
  if (sequence == nullptr) return;
  if (!sequence->was_admitted) --never_admitted;
  release_blocks(*sequence);
  (sequence->running ? running : waiting).erase(sequence->order);
  sequences.erase(id);
}

void Scheduler::Impl::slice_computed(Sequence& sequence, const Slice& slice) {
  const std::int64_t end = slice.first + static_cast<std::int64_t>(slice.tokens.size()) - slice.guesses;
  sequence.computed = end;
  sequence.guesses_computed = slice.guesses > 0;
  sequence.confirmed = 0;
  if (slice.wants_output) sequence.outputs_done = end;
  if (slice.rows_wanted) sequence.rows_done = end;
  publish_full_blocks(sequence);
}

/// Puts what became full into the prefix index. Where another sequence computed the same block at the same
/// time, that one is used from now on and ours becomes free: equal content is held once.
void Scheduler::Impl::publish_full_blocks(Sequence& sequence) {
  if (!options.prefix_cache) return;
  const int size = options.block_tokens;
  const auto full = static_cast<std::size_t>(sequence.computed / size);
  while (options.cache_generated && sequence.hashes.size() < full) {
    const std::size_t next = sequence.hashes.size();
    const auto tokens = std::span(sequence.tokens).subspan(next * static_cast<std::size_t>(size));
    sequence.hashes.push_back(chain_hash(next == 0 ? root_hash(sequence.cache_salt) : sequence.hashes.back(),
                                         tokens.first(static_cast<std::size_t>(size))));
  }
  // A block whose hash belongs to other content stays private, and so does all that follows it.
  while (sequence.shared < std::min(full, sequence.hashes.size())) {
    const std::size_t index = sequence.shared;
    const std::uint64_t parent = index == 0 ? 0 : pool.serial(sequence.blocks[index - 1]);
    const BlockId own = sequence.blocks[index];
    const BlockId known = pool.publish(own, sequence.content(index, parent, size));
    if (known == kNoBlock) return;
    if (known != own) {
      pool.retain(known);
      pool.release(own);
      sequence.blocks[index] = known;
    }
    ++sequence.shared;
  }
}

void Scheduler::Impl::verify() const {
  pool.verify();
  std::vector<int> holders(static_cast<std::size_t>(pool.total()));
  std::int64_t fresh = 0;
  for (const auto& [id, sequence] : sequences) {
    TW_CHECK((sequence->running ? running : waiting).contains(sequence->order), "a sequence runs or waits");
    TW_CHECK(sequence->running || sequence->blocks.empty(), "who waits holds no block");
    TW_CHECK(sequence->computed <= sequence->length(), "only known tokens are computed");
    TW_CHECK(sequence->computed <= static_cast<std::int64_t>(sequence->blocks.size()) * options.block_tokens,
             "computed tokens are in blocks");
    for (std::size_t i = 0; i < sequence->blocks.size(); ++i) {
      ++holders[static_cast<std::size_t>(sequence->blocks[i])];
      TW_CHECK((i < sequence->shared) == (pool.serial(sequence->blocks[i]) != 0),
               "only full prefixes are shared");
    }
    if (!sequence->was_admitted) ++fresh;
  }
  TW_CHECK(fresh == never_admitted, "new requests are counted");
  TW_CHECK(sequences.size() == running.size() + waiting.size(), "no sequence is forgotten");
  for (BlockId block = 0; block < pool.total(); ++block) {
    TW_CHECK(pool.references(block) == holders[static_cast<std::size_t>(block)],
             "references match the holders");
    TW_CHECK(pool.references(block) <= 1 || pool.serial(block) != 0, "a block held twice has known content");
  }
}

Scheduler::Scheduler(const SchedulerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Scheduler::~Scheduler() = default;

base::Status Scheduler::add(Request request) {
  TW_RETURN_IF_ERROR(impl_->check(request));
  auto sequence = std::make_unique<Sequence>();
  sequence->id = request.id;
  sequence->order = ++impl_->last_order;
  sequence->tokens = std::move(request.prompt);
  sequence->prompt_tokens = sequence->length();
  sequence->max_new_tokens = request.max_new_tokens;
  sequence->rows_from = request.rows_from;
  sequence->cache_salt = request.cache_salt;
  if (impl_->options.prefix_cache) {
    const auto size = static_cast<std::size_t>(impl_->options.block_tokens);
    std::uint64_t hash = root_hash(request.cache_salt);
    for (std::size_t end = size; end <= sequence->tokens.size(); end += size) {
      hash = chain_hash(hash, std::span(sequence->tokens).subspan(end - size, size));
      sequence->hashes.push_back(hash);
    }
  }
  ++impl_->never_admitted;
  impl_->waiting.emplace(sequence->order, sequence.get());
  impl_->sequences.emplace(request.id, std::move(sequence));
  return base::Ok{};
}

void Scheduler::cancel(RequestId id) {
  impl_->remove(id);
}

void Scheduler::finish(RequestId id) {
  impl_->remove(id);
}

Step Scheduler::next(const PromptShare& share) {
  return impl_->next(share);
}

void Scheduler::computed(const Step& step) {
  for (const Slice& slice : step.slices) {
    if (slice.phase == Phase::kPrompt && !step.through) continue;
    Sequence* sequence = impl_->find(slice.id);
    const bool same = sequence != nullptr && sequence->running && sequence->computed == slice.first;
    if (same) impl_->slice_computed(*sequence, slice);
  }
  if (step.through) impl_->in_layers.clear();
  impl_->layers_done = impl_->in_layers.empty() ? 0 : step.prompt_layers.end;
}

void Scheduler::append(RequestId id, TokenId token) {
  Sequence* sequence = impl_->find(id);
  TW_CHECK(sequence != nullptr, "append() names a request that is here");
  TW_CHECK(sequence->length() < sequence->prompt_tokens + sequence->max_new_tokens,
           "a request gets at most max_new_tokens tokens");
  sequence->tokens.push_back(token);
  if (!sequence->guesses_computed) return;
  const std::size_t next = sequence->confirmed + 1;
  if (next < sequence->in_step.size() && sequence->in_step[next] == token) {
    // Its keys and values are there, and so was its output.
    sequence->confirmed = next;
    sequence->outputs_done = ++sequence->computed;
    impl_->publish_full_blocks(*sequence);
  } else {
    sequence->guesses_computed = false;
  }
}

void Scheduler::propose(RequestId id, std::span<const TokenId> guesses) {
  Sequence* sequence = impl_->find(id);
  if (sequence == nullptr || !sequence->running || !sequence->decoding()) return;
  sequence->guesses.assign(guesses.begin(), guesses.end());
}

std::optional<Decoding> Scheduler::decoding(RequestId id) const {
  const Sequence* sequence = impl_->find(id);
  if (sequence == nullptr || !sequence->running || !sequence->decoding()) return std::nullopt;
  return Decoding{sequence->tokens, sequence->blocks};
}

bool Scheduler::running(RequestId id) const {
  const Sequence* sequence = impl_->find(id);
  return sequence != nullptr && sequence->running;
}

std::int64_t Scheduler::cached_tokens(RequestId id) const {
  const Sequence* sequence = impl_->find(id);
  return sequence == nullptr ? 0 : sequence->cached_tokens;
}

bool Scheduler::idle() const {
  return impl_->sequences.empty();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = impl_->counters;
  stats.waiting = static_cast<std::int64_t>(impl_->waiting.size());
  stats.running = static_cast<std::int64_t>(impl_->running.size());
  stats.blocks_total = impl_->pool.total();
  stats.blocks_used = stats.blocks_total - impl_->pool.available();
  return stats;
}

void Scheduler::verify() const {
  impl_->verify();
}

}  // namespace tw::sched
