#include "sched/step_budget.h"

#include <gtest/gtest.h>

namespace tw::sched {
namespace {

/// A machine on which a step takes `base` seconds, and more with prompts.
struct Machine {
  double base, with_prompts, per_token;
  double step(std::int64_t prompt_tokens) const {
    return base + (prompt_tokens > 0 ? with_prompts + per_token * static_cast<double>(prompt_tokens) : 0);
  }
};

void run(StepBudget& budget, const Machine& machine, int steps) {
  for (int i = 0; i < steps; ++i) budget.ran(4, budget.prompt_tokens(), machine.step(budget.prompt_tokens()));
}

TEST(StepBudget, FindsWhatFitsTwiceAPlainStep) {
  for (const double per_token : {0.00002, 0.0001, 0.0004}) {
    const Machine machine{0.02, 0.002, per_token};
    StepBudget budget(2, 512);
    for (int i = 0; i < 20; ++i) budget.ran(4, 0, machine.step(0));
    run(budget, machine, 100);
    for (int i = 0; i < 50; ++i) {
      run(budget, machine, 1);
      EXPECT_LE(machine.step(budget.prompt_tokens()), 2 * machine.base) << per_token;
    }
    // And not much less than that: a prompt is not held up for nothing.
    if (budget.prompt_tokens() < 512) {
      EXPECT_GE(machine.step(budget.prompt_tokens()), 1.6 * machine.base) << per_token;
    }
  }
}

TEST(StepBudget, AlwaysLetsPromptsAdvance) {
  StepBudget budget(2, 512);
  budget.ran(1, 0, 0.001);
  for (int i = 0; i < 50; ++i) budget.ran(1, budget.prompt_tokens(), 0.0021);
  EXPECT_EQ(budget.prompt_tokens(), StepBudget::kLeast);
}

TEST(StepBudget, FollowsAMachineThatBecomesFree) {
  StepBudget budget(2, 512);
  const Machine slow{0.02, 0, 0.002}, fast{0.02, 0, 0.0001};
  budget.ran(4, 0, slow.step(0));
  run(budget, slow, 50);
  EXPECT_LT(budget.prompt_tokens(), 16);
  run(budget, fast, 50);
  EXPECT_GT(budget.prompt_tokens(), 100);
}

TEST(StepBudget, ManyThatWaitForFewHaveMore) {
  StepBudget budget(2, 512);
  for (int i = 0; i < 20; ++i) budget.ran(4, 0, 0.02);
  run(budget, {0.02, 0, 0.0002}, 100);
  const std::int64_t plain = budget.prompt_tokens();
  EXPECT_LT(plain, 110);
  EXPECT_EQ(budget.prompt_tokens(4, 1), plain);
  EXPECT_EQ(budget.prompt_tokens(1, 15), 512);
  budget.ran(1, 512, 0.12);  // such a step teaches nothing of others
  EXPECT_EQ(budget.prompt_tokens(), plain);
}

/// Where each step with prompts costs as much again as one without, twice a plain step has room for few
/// tokens: several prompts that wait would do so for nothing.
TEST(StepBudget, AQueueOfPromptsHasLongerSteps) {
  const Machine machine{0.05, 0.045, 0.001};
  StepBudget budget(2, 512);
  for (int i = 0; i < 20; ++i) budget.ran(8, 0, machine.step(0));
  for (int i = 0; i < 100; ++i) {
    const std::int64_t one = budget.prompt_tokens(8, 1), more = budget.prompt_tokens(8, 4);
    budget.ran(8, one, machine.step(one), 1);
    budget.ran(8, more, machine.step(more), 4);
  }
  EXPECT_EQ(budget.prompt_tokens(8, 1), StepBudget::kLeast);
  const double step = machine.step(budget.prompt_tokens(8, 4));
  EXPECT_LE(step, 2 * StepBudget::kQueue * machine.base);
  EXPECT_GE(step, 1.6 * StepBudget::kQueue * machine.base);
}

/// Twice a step of one answer is no measure for a step of 16.
TEST(StepBudget, KnowsThatMoreAnswersMakeLongerSteps) {
  const auto step = [](std::int64_t answers, std::int64_t prompt) {
    return 0.003 + 0.0006 * static_cast<double>(answers) + (prompt > 0 ? 0.003 : 0) +
           0.00015 * static_cast<double>(prompt);
  };
  StepBudget budget(2, 512);
  for (int i = 0; i < 20; ++i) budget.ran(1, 0, step(1, 0));
  for (int i = 0; i < 50; ++i) budget.ran(15, budget.prompt_tokens(), step(15, budget.prompt_tokens()));
  const double guessed = step(15, budget.prompt_tokens());
  EXPECT_GT(guessed, 1.2 * step(15, 0));
  EXPECT_LT(guessed, 2.5 * step(15, 0));
  for (int i = 0; i < 50; ++i) {
    budget.ran(15, 0, step(15, 0));
    budget.ran(15, budget.prompt_tokens(), step(15, budget.prompt_tokens()));
  }
  EXPECT_GT(step(15, budget.prompt_tokens()), 1.6 * step(15, 0)) << "now it was seen";
  EXPECT_LT(step(15, budget.prompt_tokens()), 2 * step(15, 0));
}

/// Where the least already takes four times as long as a plain step, it would take the longest way through
/// the prompt for nothing.
TEST(StepBudget, DoesNotCrawlWhereTheAimIsOutOfReach) {
  const Machine machine{0.007, 0.021, 0.0002};
  StepBudget budget(2, 512);
  for (int i = 0; i < 20; ++i) budget.ran(4, 0, machine.step(0));
  run(budget, machine, 50);
  EXPECT_EQ(budget.prompt_tokens(), StepBudget::kLeastWhenLate);
  budget.ran(4, 0, machine.step(0));  // the prompt is through
  const Machine quick{0.007, 0.004, 0.0002};
  run(budget, quick, 50);
  EXPECT_LT(quick.step(budget.prompt_tokens()), 2 * quick.base) << "the next one may do better";
}

TEST(StepBudget, NoLimit) {
  StepBudget budget(0, 512);
  budget.ran(1, 0, 0.001);
  budget.ran(1, 512, 1.0);
  EXPECT_EQ(budget.prompt_tokens(), 512);
}

}  // namespace
}  // namespace tw::sched
