#include "sched/step_budget.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tw::sched {
namespace {

constexpr std::int64_t kLayers = 30;

/// A machine on which generated tokens take `answers` seconds, and a layer `weights` and more with each token
/// of prompts.
struct Machine {
  double answers, weights, per_token;

  double read(std::int64_t tokens, std::int64_t layers) const {
    return static_cast<double>(layers) * (weights + per_token * static_cast<double>(tokens));
  }
};

/// Seconds of a step with a chunk of a long prompt, as Scheduler would plan it.
double step(StepBudget& budget, const Machine& machine, std::int64_t answers = 4, std::int64_t others = 1,
            std::int64_t at_hand = 100000) {
  const PromptShare share = budget.share(answers, others);
  const std::int64_t tokens = std::min(share.tokens, at_hand);
  const std::int64_t layers =
      std::clamp<std::int64_t>(share.layer_tokens / (tokens + PromptShare::kLayerTokens), 1, kLayers);
  budget.answered(answers, machine.answers);
  budget.read(tokens, layers, machine.read(tokens, layers));
  return machine.answers + machine.read(tokens, layers);
}
void run(StepBudget& budget, const Machine& machine, int steps) {
  for (int i = 0; i < steps; ++i) step(budget, machine);
}

TEST(StepBudget, FindsWhatFitsTwiceAPlainStep) {
  for (const double per_token : {1e-6, 4e-6, 2e-5, 8e-5, 1.5e-4}) {
    const Machine machine{0.02, 50 * per_token, per_token};
    StepBudget budget(2, 512, kLayers);
    run(budget, machine, 100);
    for (int i = 0; i < 50; ++i) {
      const double seconds = step(budget, machine);
      EXPECT_LE(seconds, 2 * machine.answers) << per_token;
      // And not much less than that: a prompt is not held up for nothing.
      if (budget.share().tokens < 512) {
        EXPECT_GE(seconds, 1.6 * machine.answers) << per_token;
      }
    }
  }
}

TEST(StepBudget, ChunksAreLargeHoweverShortAStepIs) {
  const Machine machine{0.007, 0.0003, 0.00001};  // all layers of 8 tokens take longer than an answer's step
  StepBudget budget(2, 512, kLayers);
  run(budget, machine, 100);
  EXPECT_GT(budget.share().tokens, StepBudget::kChunk / 2);
  EXPECT_LE(step(budget, machine), 2 * machine.answers);
}

TEST(StepBudget, AlwaysLetsPromptsAdvance) {
  StepBudget budget(2, 512, kLayers);
  run(budget, {0.001, 0.002, 0.001}, 50);
  EXPECT_EQ(budget.share().tokens, StepBudget::kLeast);
}

TEST(StepBudget, FollowsAMachineThatBecomesFree) {
  StepBudget budget(2, 512, kLayers);
  run(budget, {0.02, 0, 0.002}, 50);
  EXPECT_EQ(budget.share().tokens, StepBudget::kLeast);
  run(budget, {0.02, 0, 0.00001}, 50);
  EXPECT_GT(budget.share().tokens, 100);
}

TEST(StepBudget, ManyThatWaitForFewHaveMore) {
  StepBudget budget(2, 512, kLayers);
  run(budget, {0.02, 0, 0.0001}, 100);
  const PromptShare plain = budget.share(4, 1);
  EXPECT_EQ(budget.share(4, 0).layer_tokens, plain.layer_tokens);
  EXPECT_GT(budget.share(4, 16).layer_tokens, 4 * plain.layer_tokens);
}

TEST(StepBudget, AQueueOfPromptsHasLongerSteps) {
  const Machine machine{0.05, 0.001, 0.00002};
  StepBudget budget(2, 512, kLayers);
  for (int i = 0; i < 100; ++i) step(budget, machine, 8, 4);
  const double seconds = step(budget, machine, 8, 4);
  EXPECT_LE(seconds, 2 * StepBudget::kQueue * machine.answers);
  EXPECT_GE(seconds, 1.6 * StepBudget::kQueue * machine.answers);
}

/// Twice a step of one answer is no measure for a step of 16.
TEST(StepBudget, KnowsThatMoreAnswersMakeLongerSteps) {
  StepBudget budget(2, 512, kLayers);
  for (int i = 0; i < 20; ++i) step(budget, {0.003, 0, 0.00001}, 1);
  EXPECT_NEAR(static_cast<double>(budget.share(16, 1).layer_tokens) /
                  static_cast<double>(budget.share(1, 1).layer_tokens),
              2.5, 0.1);
}

/// Few tokens cost a layer more than their share of it.
TEST(StepBudget, AShortPromptMakesNoLongStep) {
  const Machine machine{0.03, 64 * 0.00003, 0.00003};
  StepBudget budget(2, 512, kLayers);
  run(budget, machine, 100);
  EXPECT_LE(step(budget, machine, 4, 1, 20), 2 * machine.answers);
}

TEST(StepBudget, NoLimit) {
  StepBudget budget(0, 512, kLayers);
  budget.answered(1, 0.001);
  budget.read(512, kLayers, 1.0);
  EXPECT_EQ(budget.share().tokens, 512);
  EXPECT_EQ(budget.share().layer_tokens, PromptShare::kNoLimit);
}

TEST(StepBudget, NoLimitWhereNobodyReadsAlong) {
  StepBudget budget(2, 512, kLayers);
  run(budget, {0.01, 0.001, 0.0001}, 10);
  EXPECT_EQ(budget.share(0, 3).layer_tokens, PromptShare::kNoLimit);
}

}  // namespace
}  // namespace tw::sched
