#include "plan/op_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "kernels/registry.h"

namespace tw::plan {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<OpBench> bench() {
  const auto table = kernels::make_table("ref", kernels::detect_features());
  return OpBench::make(*table, 1, 0.02).value();
}

TEST(OpBench, WhatTheFirstCallWaitsForDoesNotCount) {
  bool first = true;
  const double seconds = bench()->seconds_of([&](int) {
    if (first) std::this_thread::sleep_for(milliseconds(5));
    first = false;
  });
  EXPECT_LT(seconds, 3e-4);  // a sample of one call would take about as long as waking a worker
}

TEST(OpBench, TakesTheMiddleOfLongCalls) {
  int call = 0;
  const double seconds = bench()->seconds_of(
      [&](int) { std::this_thread::sleep_for(milliseconds(++call == 3 ? 200 : 10)); });
  EXPECT_GE(seconds, 0.01);
  EXPECT_LT(seconds, 0.1);
}

}  // namespace
}  // namespace tw::plan
