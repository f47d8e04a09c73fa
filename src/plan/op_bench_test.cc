#include "plan/op_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "kernels/table.h"

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

}  // namespace
}  // namespace tw::plan
