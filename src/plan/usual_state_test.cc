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
  EXPECT_GT(together.flops, 0);
  EXPECT_EQ(state.look(one).barrier, 0);
}

TEST(UsualState, WhatIsLearntIsUsual) {
  UsualState state(table(), 10);
  base::Team team(1);  // of several workers one may always be kept from its processor
  state.learn(team, 0.2);
  EXPECT_GT(state.usual().flops, 0);
  EXPECT_EQ(state.usual().barrier, 0);
  Counted counted;
  EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_TRUE(state.was_usual());  // ten seconds are enough to see it again
}

TEST(UsualState, RunsOnceOnTheMachineThatWasCalibrated) {
  UsualState state(table(), 10);
  base::Team team(2);
  state.set_usual(kAny);
  Counted counted;
  EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_EQ(counted.calls, 1);
  EXPECT_TRUE(state.was_usual());
}

TEST(UsualState, RoundsOnAnUnusualMachineCountWhereThereAreNoOthers) {
  Rounds rounds;
  rounds.add(5, false);
  rounds.add(7, false);
  EXPECT_EQ(rounds.mean(), 6);
  EXPECT_FALSE(rounds.usual());
  rounds.add(2, true);
  rounds.add(4, true);
  EXPECT_EQ(rounds.mean(), 3);
  EXPECT_TRUE(rounds.usual());
}

TEST(UsualState, PatienceEnds) {
  UsualState state(table(), 0.1);
  base::Team team(2);
  state.set_usual(kNone);
  Counted counted;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(state.when_usual(team, [&] { return counted(); }).ok());
  EXPECT_GE(counted.calls, 3);
  EXPECT_GE(state.spent(), 0.1);
  EXPECT_FALSE(state.was_usual());
}

/// How often something is called during whose first call the machine changes.
int calls_when_moved(const base::Status& answer) {
  UsualState state(table(), 0.1);
  base::Team team(1);
  state.set_usual(kAny);
  int calls = 0;
  const base::Status status = state.when_usual(team, [&] {
    state.set_usual(++calls == 1 ? kNone : kAny);
    return answer;
  });
  EXPECT_EQ(status.ok(), answer.ok());
  EXPECT_TRUE(state.was_usual());
  return calls;
}

TEST(UsualState, WhatTheMachineChangedUnderIsDoneAgain) {
  EXPECT_EQ(calls_when_moved(base::Ok{}), 2);
}

TEST(UsualState, AnErrorIsNotTriedAgain) {
  EXPECT_EQ(calls_when_moved(base::error(base::Code::kInternal, "no")), 1);
}

}  // namespace
}  // namespace tw::plan
