// For tests: an engine without a model that runs a Scheduler and checks each plan against what a cache of
// keys and values must hold. A "key" is the hash of everything its real one depends on (salt, tokens so far,
// their phases), and the next token is a function of the last key: one wrong or foreign block changes the
// answer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sched/block_pool.h"
#include "sched/scheduler.h"

namespace tw::sched::testing {

inline constexpr TokenId kVocabulary = 3;  // few, so that random prompts share prefixes

/// The keys of a sequence whose first `prompt` tokens are its prompt.
inline std::vector<std::uint64_t> keys_of(const std::vector<TokenId>& tokens, std::size_t prompt,
                                          std::uint64_t salt, bool by_phase) {
  std::vector<std::uint64_t> keys;
  std::uint64_t key = root_hash(salt + 1000);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const TokenId mixed[] = {tokens[i], by_phase && i >= prompt ? 1 : 0};
    keys.push_back(key = chain_hash(key, mixed));
  }
  return keys;
}

class FakeEngine {
 public:
  explicit FakeEngine(const SchedulerOptions& options)
      : options(options),
        scheduler(options),
        slots_(static_cast<std::size_t>(options.blocks * options.block_tokens)) {}

  struct Job {
    Request request;
    std::vector<TokenId> tokens;
    std::optional<std::int64_t> computed;     ///< nothing: it has no blocks
    std::int64_t outputs = 0, rows = 0;       ///< rows: before the first that is still wanted
    std::int64_t born = 0, first_token = -1;  ///< steps
    bool late = false;                        ///< its sampled token is not yet appended
    bool lost_blocks = false;                 ///< by the plan at hand
    std::int64_t prompt() const { return std::ssize(request.prompt); }
  };

  base::Status add(const Request& request) {
    base::Status status = scheduler.add(request);
    if (!status.ok()) return status;
    Job& job = jobs[request.id];
    job.request = request;
    job.tokens = request.prompt;
    job.rows = request.rows_from;
    job.born = steps;
    return status;
  }

  void cancel(RequestId id) {
    scheduler.cancel(id);
    jobs.erase(id);
  }

  /// One step. `interrupt` runs between planning and the results; `late_share` of the tokens are appended
  /// only some steps later.
  template <typename Interrupt>
  void step(Interrupt interrupt, double late_share = 0) {
    propose_guesses();
    const Step plan = scheduler.next(share);
    ++steps;
    log += describe(plan);
    check_plan(plan);
    check_layers(plan);
    for (const Slice& slice : plan.slices) check_slice(slice, plan.through);
    scheduler.verify();
    std::vector<Slice> kept = plan.slices;
    interrupt();
    scheduler.computed(plan);
    scheduler.verify();
    append_late();
    for (const Slice& slice : kept) {
      if (jobs.contains(slice.id)) take_result(slice, late_share);
    }
  }
  void step() {
    step([] {});
  }

  /// Runs until nothing is left. Fails when `limit` steps do not suffice.
  void run(std::int64_t limit = 100000) {
    for (const std::int64_t end = steps + limit; !scheduler.idle();) {
      ASSERT_LT(steps, end) << "does not end";
      step();
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(scheduler.stats().blocks_used, 0);
  }

  /// What a request answers when it is alone in the world.
  std::vector<TokenId> expected_answer(const Request& request) const {
    std::vector<TokenId> tokens = request.prompt;
    for (std::int64_t i = 0; i < request.max_new_tokens; ++i) tokens.push_back(next_token(tokens, request));
    return {tokens.begin() + std::ssize(request.prompt), tokens.end()};
  }

  SchedulerOptions options;
  unsigned guess_percent = 0;  ///< how often a running answer gets guesses
  std::int64_t guesses_right = 0;
  PromptShare share;  ///< beside running answers, in every step
  Scheduler scheduler;
  std::map<RequestId, Job> jobs;  ///< ids rise in order of arrival
  std::map<RequestId, std::vector<TokenId>> answers;
  std::map<RequestId, std::int64_t> cached, first_token_after;
  std::int64_t steps = 0, preemptions = 0, hit_tokens = 0;
  std::int64_t partial_steps = 0,  ///< whose prompts did not reach the last layer
      left = 0;                    ///< prompts that never did
  std::string log;                 ///< everything that was planned

 private:
  std::vector<std::uint64_t> keys(const std::vector<TokenId>& tokens, const Request& request) const {
    return keys_of(tokens, request.prompt.size(), request.cache_salt, !options.cache_generated);
  }

  TokenId next_token(const std::vector<TokenId>& tokens, const Request& request) const {
    return static_cast<TokenId>(keys(tokens, request).back() % kVocabulary);
  }

  /// Some of the tokens that will follow, and then some that will not.
  void propose_guesses() {
    for (auto& [id, job] : jobs) {
      const bool decodes = job.computed && *job.computed + 1 == std::ssize(job.tokens) && !job.late;
      if (!decodes || *job.computed < job.prompt() || random_() % 100 >= guess_percent) continue;
      std::vector<TokenId> future = job.tokens;
      for (std::uint64_t right = random_() % 4; right > 0; --right)
        future.push_back(next_token(future, job.request));
      for (std::uint64_t any = random_() % 3; any > 0; --any)
        future.push_back(static_cast<TokenId>(random_() % kVocabulary));
      scheduler.propose(id, std::span(future).subspan(job.tokens.size()));
    }
  }

  void append_late() {
    for (auto& [id, job] : jobs) {
      if (!job.late || random_() % 2 == 0) continue;
      job.late = false;
      scheduler.append(id, job.tokens.back());
    }
  }

  static std::string describe(const Step& plan) {
    std::string text;
    for (const RequestId id : plan.preempted) text += fmt::format("-{} ", id);
    for (const Slice& slice : plan.slices) {
      text += fmt::format("{}@{}+{}:{} ", slice.id, slice.first, slice.tokens.size(), slice.blocks.back());
    }
    return text + "\n";
  }

  void check_plan(const Step& plan) {
    std::int64_t tokens = 0, of_prompts = 0;
    std::set<RequestId> planned;
    std::set<std::int64_t> written;
    for (auto& [id, job] : jobs) job.lost_blocks = false;
    for (const RequestId id : plan.preempted) {
      ASSERT_TRUE(jobs.at(id).computed.has_value());
      jobs.at(id).computed.reset();
      jobs.at(id).lost_blocks = true;
      ++preemptions;
    }
    for (const Slice& slice : plan.slices) {
      tokens += std::ssize(slice.tokens);
      of_prompts += slice.phase == Phase::kPrompt ? std::ssize(slice.tokens) : 0;
      EXPECT_TRUE(planned.insert(slice.id).second) << "two slices of one sequence";
      EXPECT_EQ(std::ranges::count(plan.preempted, slice.id), 0)
          << "it cannot run in the step that it gives way in";
      for (std::int64_t i = 0; i < std::ssize(slice.tokens); ++i) {
        EXPECT_TRUE(written.insert(slot(slice, slice.first + i)).second) << "two writers";
      }
    }
    EXPECT_EQ(tokens, plan.tokens);
    EXPECT_LE(of_prompts, options.max_step_tokens);
    EXPECT_LE(tokens - of_prompts, options.max_step_tokens);
    if (plan.prompt_layers.begin == 0) {
      EXPECT_LE(tokens, options.max_step_tokens);
    }
    std::int64_t single = 0;  // answers that go on by a token; what is left are chunks
    for (const Slice& slice : plan.slices) {
      const Job& job = jobs.at(slice.id);
      if (job.computed && *job.computed + 1 == std::ssize(job.tokens) && slice.phase == Phase::kGenerated)
        single += std::ssize(slice.tokens);
    }
    if (single > 0) {
      EXPECT_LE(of_prompts, share.tokens);
      EXPECT_LE(tokens - of_prompts - single, share.tokens);
    }
    EXPECT_LE(scheduler.stats().running, options.max_running);
    check_progress(plan, planned);
  }

  void check_progress(const Step& plan, const std::set<RequestId>& planned) {
    bool work = false;
    for (const auto& [id, job] : jobs) {
      const std::int64_t known = std::ssize(job.tokens) - (job.late ? 1 : 0);
      if (job.computed && *job.computed >= known) continue;
      work = true;
      if (!job.computed) continue;
      EXPECT_TRUE(planned.contains(id) || plan.prompt_layers.begin > 0)
          << "the oldest running request stands still: " << id;
      for (const RequestId victim : plan.preempted) EXPECT_GT(victim, id) << "the youngest must give way";
      break;
    }
    EXPECT_TRUE(!work || !plan.slices.empty() || anyone_late()) << "a step wasted";
  }

  bool anyone_late() const {
    return std::ranges::any_of(jobs, [](const auto& entry) { return entry.second.late; });
  }

  std::int64_t slot(const Slice& slice, std::int64_t position) const {
    return slice.blocks[static_cast<std::size_t>(position / options.block_tokens)] *
               std::int64_t{options.block_tokens} +
           position % options.block_tokens;
  }

  /// Prompts that are on their way through the layers stay as they are, or begin anew.
  void check_layers(const Step& plan) {
    std::vector<Way> prompts;
    for (const Slice& slice : plan.slices) {
      if (slice.phase == Phase::kPrompt)
        prompts.push_back(
            {slice.id, slice.first, std::ssize(slice.tokens), {slice.blocks.begin(), slice.blocks.end()}});
    }
    EXPECT_LT(plan.prompt_layers.begin, plan.prompt_layers.end);
    EXPECT_EQ(plan.through, plan.prompt_layers.end == options.layers);
    if (plan.prompt_layers.begin > 0) {
      EXPECT_EQ(plan.prompt_layers.begin, layers_done_);
      for (const Way& way : prompts) {
        while (!under_way_.empty() && under_way_.front() != way) leave_layers();
        ASSERT_FALSE(under_way_.empty()) << "other rows than those that the layers before have seen";
        under_way_.erase(under_way_.begin());
      }
    }
    while (!under_way_.empty()) leave_layers();
    const bool waits = !plan.through && !prompts.empty();
    partial_steps += waits ? 1 : 0;
    layers_done_ = plan.prompt_layers.end;
    under_way_ = waits ? prompts : std::vector<Way>();
  }

  /// The first of those under way is no longer there: it was cancelled or has lost its blocks.
  void leave_layers() {
    const auto job = jobs.find(under_way_.front().id);
    EXPECT_TRUE(job == jobs.end() || job->second.lost_blocks) << "a prompt was left behind";
    ++left;
    under_way_.erase(under_way_.begin());
  }

  void check_slice(const Slice& slice, bool through) {
    ASSERT_TRUE(jobs.contains(slice.id));
    Job& job = jobs.at(slice.id);
    if (!job.computed) check_admission(slice, job);
    ASSERT_EQ(slice.first, *job.computed) << "each token once, in order";
    const std::int64_t end = slice.first + std::ssize(slice.tokens) - slice.guesses;
    const std::int64_t known = std::ssize(job.tokens) - (job.late ? 1 : 0);
    ASSERT_GT(std::ssize(slice.tokens), slice.guesses);
    ASSERT_LE(end, known);
    ASSERT_LE(end + slice.guesses, std::ssize(slice.blocks) * options.block_tokens)
        << "the blocks cover the tokens";
    ASSERT_LT(end + slice.guesses, job.prompt() + job.request.max_new_tokens + (slice.guesses == 0 ? 1 : 0));
    EXPECT_TRUE(slice.guesses == 0 || slice.wants_output);
    EXPECT_TRUE(std::equal(slice.tokens.begin(), slice.tokens.end() - slice.guesses,
                           job.tokens.begin() + slice.first));
    EXPECT_EQ(slice.phase, slice.first < job.prompt() ? Phase::kPrompt : Phase::kGenerated);
    EXPECT_TRUE(slice.phase == Phase::kGenerated || end <= job.prompt()) << "one phase";
    const bool computed = through || slice.phase == Phase::kGenerated;
    EXPECT_EQ(slice.wants_output, computed && end == known && end > job.outputs);
    check_keys(slice, job, computed);
    if (!computed) {
      EXPECT_FALSE(slice.rows_wanted);
      return;
    }
    job.computed = end;
    if (slice.wants_output) job.outputs = end;
    if (slice.rows_wanted) {
      EXPECT_TRUE(slice.first == job.rows || (slice.first < job.rows && job.rows == job.request.rows_from));
      EXPECT_TRUE(end > job.rows && end <= job.prompt());
      job.rows = end;
    }
    EXPECT_LE(std::min(end, job.prompt()), job.rows) << "a row is missing";
  }

  /// A sequence gets blocks: those before its first slice come from the cache.
  void check_admission(const Slice& slice, Job& job) {
    EXPECT_EQ(slice.first % options.block_tokens, 0) << "hits are full blocks";
    EXPECT_TRUE(options.prefix_cache || slice.first == 0);
    EXPECT_TRUE(options.cache_generated || slice.first <= job.prompt());
    EXPECT_LE(slice.first, job.rows);
    if (!cached.contains(slice.id)) cached[slice.id] = slice.first;
    EXPECT_EQ(cached[slice.id], scheduler.cached_tokens(slice.id));
    hit_tokens += slice.first;
    job.computed = slice.first;
  }

  /// Every key before the slice is what this sequence alone would have computed; then the slice writes its
  /// own.
  void check_keys(const Slice& slice, const Job& job, bool computed) {
    std::vector<TokenId> tokens(job.tokens.begin(), job.tokens.begin() + slice.first);
    tokens.insert(tokens.end(), slice.tokens.begin(), slice.tokens.end());
    const std::vector<std::uint64_t> want = keys(tokens, job.request);
    const std::int64_t end = slice.first + std::ssize(slice.tokens);
    for (std::int64_t p = 0; p < (computed ? end : slice.first); ++p) {
      std::uint64_t& key = slots_[static_cast<std::size_t>(slot(slice, p))];
      if (p >= slice.first) key = want[static_cast<std::size_t>(p)];
      ASSERT_EQ(key, want[static_cast<std::size_t>(p)]) << "request " << slice.id << " position " << p;
    }
  }

  void take_result(const Slice& slice, double late_share) {
    Job& job = jobs.at(slice.id);
    if (!slice.wants_output) return;
    if (job.first_token < 0) first_token_after[slice.id] = (job.first_token = steps) - job.born;
    if (job.request.max_new_tokens > 0) job.tokens.push_back(next_token(job.tokens, job.request));
    take_guesses(slice, job);
    if (std::ssize(job.tokens) == job.prompt() + job.request.max_new_tokens) {
      answers[slice.id] = {job.tokens.begin() + job.prompt(), job.tokens.end()};
      EXPECT_EQ(job.rows, job.request.rows_from == kNoRows ? kNoRows : job.prompt());
      scheduler.finish(slice.id);
      jobs.erase(slice.id);
    } else if (slice.guesses == 0 && std::uniform_real_distribution<>()(random_) < late_share) {
      job.late = true;
    } else {
      scheduler.append(slice.id, job.tokens.back());
    }
  }

  /// As long as the token drawn is the one that was guessed, the next one comes from the guess's row.
  void take_guesses(const Slice& slice, Job& job) {
    const std::vector<TokenId> guesses(slice.tokens.end() - slice.guesses, slice.tokens.end());
    for (const TokenId guess : guesses) {
      if (job.tokens.back() != guess) return;
      ++guesses_right;
      scheduler.append(slice.id, guess);
      job.outputs = ++*job.computed;
      job.tokens.push_back(next_token(job.tokens, job.request));
    }
  }

  /// A prompt's tokens on their way through the layers.
  struct Way {
    RequestId id;
    std::int64_t first, tokens;
    std::vector<BlockId> blocks;
    bool operator==(const Way&) const = default;
  };
  std::vector<Way> under_way_;
  std::int64_t layers_done_ = 0;
  std::vector<std::uint64_t> slots_;
  std::mt19937 random_{7};
};

}  // namespace tw::sched::testing
