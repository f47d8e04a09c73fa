#include "infer/step_budget.h"

#include <gtest/gtest.h>

namespace tw::infer {
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
  for (int i = 0; i < 50; ++i) budget.ran(1, budget.prompt_tokens(), 1.0);
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
  EXPECT_NEAR(static_cast<double>(budget.prompt_tokens(2, 6)), 3.0 * static_cast<double>(plain), 3);
  EXPECT_EQ(budget.prompt_tokens(1, 15), 512);
  budget.ran(1, 512, 0.12);  // such a step teaches nothing of others
  EXPECT_EQ(budget.prompt_tokens(), plain);
}

TEST(StepBudget, NoLimit) {
  StepBudget budget(0, 512);
  budget.ran(1, 0, 0.001);
  budget.ran(1, 512, 1.0);
  EXPECT_EQ(budget.prompt_tokens(), 512);
}

}  // namespace
}  // namespace tw::infer
