#include "infer/drafter.h"

#include <algorithm>

namespace tw::infer {

base::Status Drafter::check(const model::LoadedModel& draft, const model::LoadedModel& model) {
  const text::Tokenizer &ours = *model.card().tokenizer, &theirs = *draft.card().tokenizer;
  if (ours.size() != theirs.size()) {
    return base::error(base::Code::kInvalidArgument,
                       "the draft model {} has a vocabulary of {} tokens and {} one of {}: choose one of the "
                       "same family",
                       draft.card().name, theirs.size(), model.card().name, ours.size());
  }
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto token = static_cast<std::int32_t>(i);
    if (ours.piece(token) == theirs.piece(token)) continue;
    return base::error(base::Code::kInvalidArgument,
                       "the draft model {} means something else by token {} than {} does: choose one of the "
                       "same family",
                       draft.card().name, token, model.card().name);
  }
  return base::Ok{};
}

base::Result<std::unique_ptr<Drafter>> Drafter::create(std::shared_ptr<const model::LoadedModel> draft,
                                                       const Options& options, base::Team& team) {
  // Beyond a sequence's own blocks a guess goes to one that is lent to it for the time of a call.
  TW_ASSIGN_OR_RETURN(PagedKv kv, PagedKv::create(draft->config(), options.blocks + options.max_running,
                                                  options.context + kBlockTokens, options.kv_type));
  TW_ASSIGN_OR_RETURN(std::unique_ptr<StepRunner> runner,
                      StepRunner::create(*draft, kv, team, options.max_step_tokens));
  return std::unique_ptr<Drafter>(new Drafter(std::move(draft), options, std::move(kv), std::move(runner)));
}

Drafter::Drafter(std::shared_ptr<const model::LoadedModel> draft, const Options& options, PagedKv kv,
                 std::unique_ptr<StepRunner> runner)
    : model_(std::move(draft)), options_(options), kv_(std::move(kv)), runner_(std::move(runner)) {
  options_.context = std::min(options_.context, model_->config().context);
}

void Drafter::follow(const sched::Step& step) {
  for (const auto id : step.preempted) states_[id].known = 0;
  if (!step.through) return;
  batch_.clear();
  for (const sched::Slice& slice : step.slices) {
    if (slice.phase != sched::Phase::kPrompt) continue;
    // Past its own context it guesses nothing, and may know no positions.
    const std::int64_t count = std::min(std::ssize(slice.tokens), options_.context - slice.first);
    if (count < 1) continue;
    batch_.add(slice.tokens.first(static_cast<std::size_t>(count)), slice.first, slice.blocks.data(), false);
    // What a prefix hit skips was computed here when it was computed there.
    states_[slice.id].known = slice.first + count;
  }
  if (batch_.rows() > 0) runner_->run(batch_, {}, kv_.view());
}

const std::vector<std::vector<std::int32_t>>& Drafter::guess(const std::vector<Work>& work) {
  guesses_.assign(work.size(), {});
  plan(work);
  if (drafts_.empty()) return guesses_;
  catch_up(std::max<std::int64_t>(1, options_.max_step_tokens / std::ssize(drafts_)));
  while (!drafts_.empty()) pass();
  return guesses_;
}

void Drafter::plan(const std::vector<Work>& work) {
  drafts_.clear();
  for (std::size_t i = 0; i < work.size(); ++i) {
    const Work& w = work[i];
    const auto length = std::ssize(w.tokens);
    State& state = states_[w.id];
    state.computed = 0;
    const std::int64_t limit = std::min({w.limit, GuessLength::kLongest, options_.context - length});
    const std::int64_t wanted =
        options_.tokens > 0 ? std::min(options_.tokens, limit) : state.length.choose(costs_, limit);
    if (wanted < 1) continue;
    Draft draft{&w, &state, &guesses_[i], wanted, {w.blocks.begin(), w.blocks.end()}};
    // If the last token begins a block that is not there yet, all it says fits the lent one.
    const auto lent = static_cast<sched::BlockId>(options_.blocks + std::ssize(drafts_));
    const std::int64_t blocks = (length + kBlockTokens - 1) / kBlockTokens;
    draft.blocks.resize(std::max(blocks, std::ssize(draft.blocks)), lent);
    draft.blocks.push_back(lent);
    drafts_.push_back(std::move(draft));
  }
}

/// All tokens but the last that it has not seen yet: those of guesses that came true, and more after a
/// preemption or when nothing was guessed for a while.
void Drafter::catch_up(std::int64_t most) {
  while (true) {
    batch_.clear();
    for (Draft& draft : drafts_) {
      const std::int64_t known = draft.state->known;
      const std::int64_t count = std::min(most, std::ssize(draft.work->tokens) - known - most);
      if (count < 1) continue;
      batch_.add(draft.work->tokens.subspan(known, count), known, draft.blocks.data(), true);
      draft.state->known += count;
    }
    if (batch_.rows() == 0) return;
    runner_->run(batch_, {}, kv_.view());
  }
}

/// One token more for each guess; those that are complete leave.
void Drafter::pass() {
  const Clock::time_point begin = Clock::now();
  batch_.clear();
  outputs_.clear();
  for (Draft& draft : drafts_) {
    const auto length = std::ssize(draft.work->tokens), guessed = std::ssize(*draft.tokens);
    if (guessed == 0) {
      const std::int64_t known = std::min(draft.state->known, length - 1);
      batch_.add(draft.work->tokens.subspan(known), known, draft.blocks.data(), true);
    } else {
      batch_.add(std::span(*draft.tokens).last(1), length + guessed - 1, draft.blocks.data(), true);
    }
    outputs_.push_back({.kind = OutputRow::Kind::kBest, .batch_row = batch_.rows() - 1, .best = &draft.next});
  }
  const bool single = batch_.rows() == std::ssize(drafts_);
  runner_->run(batch_, outputs_, kv_.view());
  for (Draft& draft : drafts_) draft.tokens->push_back(draft.next);
  if (single) costs_.drafted(std::chrono::duration<double>(Clock::now() - begin).count());
  std::erase_if(drafts_, [](const Draft& draft) {
    if (std::ssize(*draft.tokens) < draft.wanted) return false;
    const auto length = std::ssize(draft.work->tokens), own = std::ssize(draft.work->blocks) * kBlockTokens;
    draft.state->known = std::min(length, own);
    draft.state->last = length;
    draft.state->computed = std::clamp<std::int64_t>(own - length, 0, draft.wanted - 1);
    return true;
  });
}

void Drafter::learn(Ticket id, std::int64_t guessed, std::int64_t right) {
  State& state = states_[id];
  state.length.learn(guessed, right);
  if (state.known == state.last) state.known += std::min(right, state.computed);
}

}  // namespace tw::infer
