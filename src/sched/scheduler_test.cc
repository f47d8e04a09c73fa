#include "sched/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sched/fake_engine.h"

namespace tw::sched {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using testing::FakeEngine;
using ::testing::HasSubstr;

SchedulerOptions small(std::int64_t blocks) {
  return {.blocks = blocks, .block_tokens = 4, .max_running = 8, .max_step_tokens = 64, .max_waiting = 100};
}

/// `count` tokens that no other `kind` begins with.
std::vector<TokenId> prompt(int count, TokenId kind = 0) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 1000 * kind);
  return tokens;
}

Request request(RequestId id, std::vector<TokenId> tokens, std::int64_t answer) {
  return {.id = id, .prompt = std::move(tokens), .max_new_tokens = answer};
}

TEST(Scheduler, AnswersOneRequest) {
  FakeEngine engine(small(8));
  const Request one = request(1, prompt(10), 5);
  ASSERT_TRUE(engine.add(one).ok());
  engine.run();
  EXPECT_EQ(engine.answers[1], engine.expected_answer(one));
  EXPECT_EQ(engine.steps, 5);
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  SchedulerOptions options = small(8);
  options.max_sequence = 20;
  Scheduler scheduler(options);
  const auto message = [&](Request r) {
    const base::Status status = scheduler.add(std::move(r));
    EXPECT_EQ(status.error().code, base::Code::kInvalidArgument);
    return status.error().message;
  };
  EXPECT_THAT(message(request(1, prompt(15), 6)), AllOf(HasSubstr("15"), HasSubstr("6"), HasSubstr("20")));
  EXPECT_THAT(message(request(1, prompt(21), 0)), HasSubstr("21"));
  EXPECT_THAT(message(request(1, prompt(1), INT64_MAX)), HasSubstr("20"));
  EXPECT_THAT(message(request(1, {}, 3)), HasSubstr("empty"));
  EXPECT_THAT(message(request(1, prompt(3), -1)), HasSubstr("-1"));
  EXPECT_TRUE(scheduler.add(request(1, prompt(15), 5)).ok());
  EXPECT_THAT(message(request(1, prompt(3), 1)), HasSubstr("already"));
  options.max_sequence = 0;
  Scheduler unlimited(options);
  EXPECT_FALSE(unlimited.add(request(1, prompt(30), 3)).ok());
  EXPECT_TRUE(unlimited.add(request(1, prompt(30), 2)).ok());
}

TEST(Scheduler, TheQueueHasALimit) {
  SchedulerOptions options = small(8);
  options.max_waiting = 2;
  FakeEngine engine(options);
  EXPECT_TRUE(engine.add(request(1, prompt(3), 2)).ok());
  EXPECT_TRUE(engine.add(request(2, prompt(3), 2)).ok());
  const base::Status full = engine.add(request(3, prompt(3), 2));
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, base::Code::kResourceExhausted);
  engine.step();
  EXPECT_TRUE(engine.add(request(3, prompt(3), 2)).ok()) << "the others left the queue";
  engine.run();
}

TEST(Scheduler, AShortPromptPassesAHugeOne) {
  FakeEngine engine({.blocks = 5000, .block_tokens = 16, .max_running = 8, .max_step_tokens = 512});
  ASSERT_TRUE(engine.add(request(1, prompt(20000), 1)).ok());
  engine.step();
  ASSERT_TRUE(engine.add(request(2, prompt(100, 1), 1)).ok());
  ASSERT_TRUE(engine.add(request(3, prompt(200, 2), 1)).ok());
  engine.run();
  EXPECT_EQ(engine.first_token_after[2], 1);
  EXPECT_EQ(engine.first_token_after[3], 2);
  EXPECT_EQ(engine.steps, 40) << "no token of the budget was wasted: 20300 in steps of 512";
}

TEST(Scheduler, ManyHugePromptsDoNotStarveAShortOne) {
  FakeEngine engine({.blocks = 9000, .block_tokens = 16, .max_running = 64, .max_step_tokens = 512});
  for (RequestId id = 1; id <= 10; ++id) {
    ASSERT_TRUE(engine.add(request(id, prompt(10000, static_cast<TokenId>(id) * 20), 1)).ok());
  }
  engine.step();
  ASSERT_TRUE(engine.add(request(20, prompt(30, 500), 1)).ok());
  engine.run();
  // Only the five oldest get a share: the short one waits until six of the ten are through.
  EXPECT_LT(engine.first_token_after[20], engine.first_token_after[7]);
}

TEST(Scheduler, DecodesDoNotWaitForPrompts) {
  FakeEngine engine({.blocks = 2000, .block_tokens = 16, .max_running = 8, .max_step_tokens = 64});
  ASSERT_TRUE(engine.add(request(1, prompt(10), 50)).ok());
  engine.step();
  ASSERT_TRUE(engine.add(request(2, prompt(10000, 1), 1)).ok());
  while (engine.jobs.contains(1)) engine.step();
  EXPECT_EQ(engine.steps, 50);
}

TEST(Scheduler, PreemptsTheYoungestAndFinishesAll) {
  SchedulerOptions options = small(12);
  options.prefix_cache = false;
  FakeEngine engine(options);
  for (RequestId id = 1; id <= 3; ++id)
    ASSERT_TRUE(engine.add(request(id, prompt(6, static_cast<TokenId>(id)), 30)).ok());
  engine.run();
  EXPECT_GT(engine.preemptions, 0);
  EXPECT_EQ(engine.scheduler.stats().preemptions, static_cast<std::uint64_t>(engine.preemptions));
  EXPECT_EQ(engine.answers.size(), 3U);
  EXPECT_LT(engine.preemptions, 6) << "no thrashing";
}

TEST(Scheduler, GeneratedTokensAreComputedAgainInTheirPhase) {
  SchedulerOptions options = small(8);
  options.prefix_cache = false;
  FakeEngine engine(options);
  ASSERT_TRUE(engine.add(request(1, prompt(8, 1), 20)).ok());
  ASSERT_TRUE(engine.add(request(2, prompt(8, 2), 20)).ok());
  engine.run();
  // Request 2 loses its blocks; then its prompt comes back in one slice and its answer so far in the next
  // one.
  EXPECT_THAT(engine.log, ContainsRegex("-2 (.*\n)+.*2@0[+]8:[0-9]+ \n2@8[+][1-9][0-9]?:"));
}

TEST(Scheduler, HitsTakeFullBlocksAndLeaveATokenToCompute) {
  const std::vector<std::pair<int, std::int64_t>> cases = {{16, 12}, {17, 16}, {15, 12},
                                                           {4, 0},   {5, 4},   {40, 16}};
  for (const auto& [length, hit] : cases) {
    FakeEngine engine(small(40));
    ASSERT_TRUE(engine.add(request(1, prompt(16), 3)).ok());
    engine.run();
    ASSERT_TRUE(engine.add(request(2, prompt(length), 1)).ok());
    engine.run();
    EXPECT_EQ(engine.cached[2], hit) << length;
  }
}

TEST(Scheduler, RowsThatAreWantedAreNeverSkipped) {
  FakeEngine engine(small(40));
  ASSERT_TRUE(engine.add(request(1, prompt(16), 3)).ok());
  engine.run();
  Request rows = request(2, prompt(16), 0);
  rows.rows_from = 0;
  ASSERT_TRUE(engine.add(rows).ok());
  engine.run();
  EXPECT_EQ(engine.cached[2], 0);
  EXPECT_TRUE(engine.answers.contains(2));
}

TEST(Scheduler, RowsBeforeThoseThatAreWantedMayComeFromTheCache) {
  for (const auto& [rows_from, hit] : {std::pair{3, 0}, {4, 4}, {11, 8}, {15, 12}}) {
    FakeEngine engine(small(40));
    ASSERT_TRUE(engine.add(request(1, prompt(16), 3)).ok());
    engine.run();
    Request rows = request(2, prompt(16), 0);
    rows.rows_from = rows_from;
    ASSERT_TRUE(engine.add(rows).ok());
    engine.run();
    EXPECT_EQ(engine.cached[2], hit) << rows_from;
    EXPECT_TRUE(engine.answers.contains(2));
  }
}

TEST(Scheduler, SaltsSeparateTheCache) {
  FakeEngine engine(small(40));
  ASSERT_TRUE(engine.add(request(1, prompt(16), 1)).ok());
  engine.run();
  Request other = request(2, prompt(16), 1);
  other.cache_salt = 5;
  ASSERT_TRUE(engine.add(other).ok());
  engine.run();
  EXPECT_EQ(engine.cached[2], 0);
}

TEST(Scheduler, GeneratedBlocksAreSharedOnlyWhenAllowed) {
  for (const bool allowed : {false, true}) {
    SchedulerOptions options = small(40);
    options.cache_generated = allowed;
    FakeEngine engine(options);
    const Request first = request(1, prompt(6), 20);
    ASSERT_TRUE(engine.add(first).ok());
    engine.run();
    std::vector<TokenId> longer = first.prompt;
    for (const TokenId token : engine.answers[1]) longer.push_back(token);
    ASSERT_TRUE(engine.add(request(2, longer, 1)).ok());
    engine.run();
    // 26 tokens are known, of which the last was never computed: six full blocks.
    EXPECT_EQ(engine.cached[2], allowed ? 24 : 4);
  }
}

TEST(Scheduler, EqualPromptsAreComputedOnce) {
  FakeEngine engine({.blocks = 200, .block_tokens = 16, .max_running = 8, .max_step_tokens = 128});
  for (RequestId id = 1; id <= 4; ++id) ASSERT_TRUE(engine.add(request(id, prompt(400), 8)).ok());
  ASSERT_TRUE(engine.add(request(5, prompt(20, 7), 1)).ok());
  engine.run();
  EXPECT_EQ(engine.cached[1], 0);
  for (RequestId id = 2; id <= 4; ++id) EXPECT_EQ(engine.cached[id], 384);
  EXPECT_EQ(engine.first_token_after[5], 1) << "it does not wait with those that wait for the first";
}

TEST(Scheduler, EqualPromptsShareBlocksAlsoWhenBothComputedThem) {
  FakeEngine engine(small(40));
  Request rows = request(1, prompt(16), 4);
  rows.rows_from = 0;
  ASSERT_TRUE(engine.add(rows).ok());
  rows.id = 2;
  ASSERT_TRUE(engine.add(rows).ok());
  engine.step();
  EXPECT_EQ(engine.scheduler.stats().blocks_used, 4);
  engine.run();
}

TEST(Scheduler, CancelFreesEverythingAtOnce) {
  FakeEngine engine(small(40));
  ASSERT_TRUE(engine.add(request(1, prompt(30), 9)).ok());
  ASSERT_TRUE(engine.add(request(2, prompt(30, 2), 9)).ok());
  engine.step([&] { engine.cancel(1); });
  engine.cancel(2);
  engine.cancel(99);
  engine.scheduler.finish(99);
  EXPECT_TRUE(engine.scheduler.idle());
  EXPECT_EQ(engine.scheduler.stats().blocks_used, 0);
  EXPECT_TRUE(engine.scheduler.next().slices.empty());
}

/// A sequence that answers, and then a prompt of 8 tokens that goes through two of five layers a step.
struct BesideAnAnswer : Scheduler {
  static SchedulerOptions options() {
    SchedulerOptions options = small(40);
    options.layers = 5;
    return options;
  }
  BesideAnAnswer() : Scheduler(options()) {
    EXPECT_TRUE(add(request(1, prompt(3), 30)).ok());
    const Step first = next();
    EXPECT_TRUE(first.through && first.prompt_layers.end == 5) << "nobody reads along";
    computed(first);
    append(1, 7);
    EXPECT_TRUE(add(request(2, prompt(8, 2), 5)).ok());
  }
};
constexpr PromptShare kTwoLayers = {8, 2 * (8 + PromptShare::kLayerTokens)};

/// One step, in which the first request gets a token. Layers of the others.
std::pair<std::int64_t, std::int64_t> go_on(Scheduler& scheduler) {
  const Step step = scheduler.next(kTwoLayers);
  scheduler.computed(step);
  scheduler.verify();
  scheduler.append(1, 7);
  return {step.prompt_layers.begin, step.prompt_layers.end};
}

TEST(Scheduler, PromptsGoThroughSomeLayersBesideAnswers) {
  BesideAnAnswer scheduler;
  using Range = std::pair<std::int64_t, std::int64_t>;
  EXPECT_EQ(go_on(scheduler), Range(0, 2));
  EXPECT_EQ(go_on(scheduler), Range(2, 4));
  const Step last = scheduler.next(kTwoLayers);
  EXPECT_EQ(Range(last.prompt_layers.begin, last.prompt_layers.end), Range(4, 5));
  EXPECT_TRUE(last.through);
  ASSERT_EQ(last.slices.size(), 2U);
  EXPECT_TRUE(last.slices[1].wants_output);
}

TEST(Scheduler, PromptsGoOnAloneWhenTheAnswerEnds) {
  BesideAnAnswer scheduler;
  go_on(scheduler);
  scheduler.finish(1);
  const Step rest = scheduler.next(kTwoLayers);
  EXPECT_EQ(rest.prompt_layers.begin, 2);
  EXPECT_TRUE(rest.through);
}

TEST(Scheduler, WhatIsCancelledOnItsWayThroughTheLayersLeavesTheOthersThere) {
  BesideAnAnswer scheduler;
  ASSERT_TRUE(scheduler.add(request(3, prompt(5, 3), 5)).ok());
  const PromptShare share = {64, 2 * (13 + PromptShare::kLayerTokens)};
  const Step first = scheduler.next(share);
  ASSERT_EQ(first.slices.size(), 3U);
  scheduler.computed(first);
  scheduler.append(1, 7);
  scheduler.cancel(2);
  const Step next = scheduler.next(share);
  ASSERT_EQ(next.slices.size(), 2U);
  EXPECT_EQ(next.slices[1].id, 3U);
  EXPECT_EQ(next.prompt_layers.begin, 2) << "it goes on where it is";
}

TEST(Scheduler, WhereAllAreCancelledOnTheirWayOthersBeginWithTheFirstLayer) {
  BesideAnAnswer scheduler;
  go_on(scheduler);
  scheduler.cancel(2);
  ASSERT_TRUE(scheduler.add(request(3, prompt(8, 3), 5)).ok());
  const Step next = scheduler.next(kTwoLayers);
  EXPECT_EQ(next.prompt_layers.begin, 0) << "the rows of the layers before were another prompt's";
}

TEST(Scheduler, AnIdMayComeAgainAfterACancel) {
  Scheduler scheduler(small(40));
  ASSERT_TRUE(scheduler.add(request(1, prompt(30), 9)).ok());
  const Step step = scheduler.next();
  scheduler.cancel(1);
  ASSERT_TRUE(scheduler.add(request(1, prompt(5, 3), 9)).ok());
  scheduler.computed(step);
  scheduler.verify();
  EXPECT_EQ(scheduler.next().tokens, 5) << "the results of the first request are not those of the second";
}

TEST(Scheduler, CountsQueriesAndHits) {
  FakeEngine engine(small(40));
  ASSERT_TRUE(engine.add(request(1, prompt(16), 1)).ok());
  engine.run();
  ASSERT_TRUE(engine.add(request(2, prompt(20), 1)).ok());
  engine.run();
  EXPECT_EQ(engine.scheduler.stats().prefix_queries, 36U);
  EXPECT_EQ(engine.scheduler.stats().prefix_hits, 16U);
}

}  // namespace
}  // namespace tw::sched
