#include "plan/usual_state.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace tw::plan {
namespace {

kernels::Table table() {
  return kernels::make_table("ref", kernels::detect_features()).value();
}

constexpr MachineState kAny{1e9, 1};  ///< what every machine is at least
constexpr MachineState kNone{0, 1e30};

/// How often what it runs was called, and what came of it.
struct Counted {
  int calls = 0;
  base::Status operator()() {
    ++calls;
    return base::Ok{};
  }
};

TEST(UsualState, ALookTellsOfWorkersTogetherAndAlone) {
  UsualState state(table(), 0);
  base::Team two(2), one(1);
  const MachineState together = state.look(two);
  EXPECT_GT(together.barrier, 0);
  EXPECT_LT(together.barrier, 1);
  EXPECT_GT(together.flops, 1e6);
  EXPECT_EQ(state.look(one).barrier, 0);
}

TEST(UsualState, WhatIsLearntIsUsual) {
  UsualState state(table(), 10);
  base::Team team(1);  // of several workers one may always be kept from its processor
  state.learn(team, 0.2);
  EXPECT_GT(state.usual().flops, 1e6);
  Counted counted;
  EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_GE(counted.calls, 1);
}

TEST(UsualState, RunsOnceOnTheMachineThatWasCalibrated) {
  UsualState state(table(), 10);
  base::Team team(2);
  state.set_usual(kAny);
  Counted counted;
  EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_EQ(counted.calls, 1);
  EXPECT_EQ(state.unusual_share(), 0);
}

TEST(UsualState, PatienceEnds) {
  UsualState state(table(), 0.1);
  base::Team team(2);
  state.set_usual(kNone);
  Counted counted;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_GE(counted.calls, 3);
  EXPECT_GE(state.spent(), 0.1);
  EXPECT_EQ(state.unusual_share(), 1);
}

TEST(UsualState, AnErrorIsNotTriedAgain) {
  UsualState state(table(), 0.1);
  base::Team team(1);
  state.set_usual(kNone);
  int calls = 0;
  const base::Status failed = state.when_usual(team, [&]() -> base::Status {
    ++calls;
    return base::error(base::Code::kInternal, "no");
  });
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace tw::plan
