#include "plan/op_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "kernels/table.h"
#include "plan/statistics.h"

namespace tw::plan {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<OpBench> bench() {
  return OpBench::make(kernels::make_table("ref", kernels::detect_features()).value(), 1, 0.02).value();
}

TEST(OpBench, WhatTheFirstCallWaitsForDoesNotCount) {
  bool first = true;
  const double seconds = bench()->seconds_of([&](int) {
    std::this_thread::sleep_for(milliseconds(first ? 300 : 25));
    first = false;
  });
  EXPECT_GE(seconds, 0.025);
  EXPECT_LT(seconds, 0.1);
}

/// Two ops that say when they are called.
struct Calls {
  std::vector<int> order;
  std::vector<double> seconds;
  std::vector<TimedOp> ops() {
    std::vector<TimedOp> both;
    for (const int which : {0, 1}) {
      both.push_back({[this, which](ops::Exec& ex, std::int64_t) {
                        if (ex.tracing()) return;
                        order.push_back(which);
                        std::this_thread::sleep_for(milliseconds(which == 0 ? 2 : 10));
                      },
                      [this](double each) { seconds.push_back(each); }});
    }
    return both;
  }
};

TEST(OpBench, OpsTakeTurnsAndEachIsToldItsOwnTime) {
  Calls calls;
  ASSERT_TRUE(bench()->time(calls.ops()).ok());
  int turns = 1;
  for (std::size_t i = 1; i < calls.order.size(); ++i) turns += calls.order[i] != calls.order[i - 1] ? 1 : 0;
  EXPECT_GE(turns, 4);  // four visits to each, or fewer of what is stretched by others
  EXPECT_LE(turns, 8);
  ASSERT_EQ(calls.seconds.size(), 2U);
  EXPECT_GE(calls.seconds[0], 0.002);
  EXPECT_GE(calls.seconds[1], 0.01);
  EXPECT_LT(calls.seconds[0], calls.seconds[1]);
}

TEST(OpBench, CallsCountUpThroughAllVisits) {
  std::vector<std::int64_t> numbers;
  const TimedOp op{[&](ops::Exec& ex, std::int64_t call) {
                     if (!ex.tracing()) numbers.push_back(call);
                   },
                   [](double) {}};
  ASSERT_TRUE(bench()->time({&op, 1}).ok());
  ASSERT_GT(numbers.size(), 8U);
  for (std::size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], static_cast<std::int64_t>(i));
}

TEST(OpBench, AMachineThatIsNeverAsUsualIsTimedAllTheSame) {
  const kernels::Table table = kernels::make_table("ref", kernels::detect_features()).value();
  UsualState usual(table, 0.05);
  usual.set_usual({0, 1e30});
  Calls calls;
  const auto bench = OpBench::make(table, 1, 0.02, &usual).value();
  ASSERT_TRUE(bench->time(calls.ops()).ok());
  ASSERT_EQ(calls.seconds.size(), 2U);
  EXPECT_GE(calls.seconds[1], 0.01);
  EXPECT_FALSE(usual.was_usual());
}

TEST(OpBench, AVisitThatTheMachineChangedUnderDoesNotCount) {
  const kernels::Table table = kernels::make_table("ref", kernels::detect_features()).value();
  UsualState usual(table, 0.05);
  usual.set_usual({1e9, 1});
  double seconds = 0;
  const TimedOp op{[&](ops::Exec& ex, std::int64_t call) {
                     if (ex.tracing()) return;
                     const bool moved = call < 2;  // in the first visit: one call to warm up, and a sample
                     usual.set_usual({1e9, moved ? 1e30 : 1});
                     std::this_thread::sleep_for(milliseconds(moved ? 2 : 40));
                   },
                   [&](double each) { seconds = each; }};
  const auto bench = OpBench::make(table, 1, 0.004, &usual).value();
  ASSERT_TRUE(bench->time({&op, 1}).ok());
  EXPECT_GE(seconds, 0.04);
  EXPECT_TRUE(usual.was_usual());
}

TEST(Statistics, AHiccupCountsAsTwiceTheUsual) {
  EXPECT_EQ(steady_mean({1, 1, 1, 100}), 1.25);
  EXPECT_EQ(steady_mean({1, 2, 3}), 2);
  EXPECT_EQ(steady_mean({}), 0);
}

}  // namespace
}  // namespace tw::plan
