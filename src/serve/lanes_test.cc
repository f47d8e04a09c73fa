#include "serve/lanes.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace tw::serve {
namespace {

using std::chrono::seconds;

TEST(Lanes, SmallRequestsDoNotWaitForLargeOnes) {
  Lanes lanes(4);
  std::promise<void> release, small_done;
  ASSERT_TRUE(lanes.post(Lanes::kLargeBody, [wait = release.get_future().share()] { wait.wait(); }));
  ASSERT_TRUE(lanes.post(Lanes::kLargeBody - 1, [&] { small_done.set_value(); }));
  EXPECT_EQ(small_done.get_future().wait_for(seconds(10)), std::future_status::ready);
  release.set_value();
}

TEST(Lanes, KeepTheOrderAndTheLimit) {
  Lanes lanes(2);
  std::promise<void> started, release, done;
  std::vector<int> order;
  ASSERT_TRUE(lanes.post(0, [&, wait = release.get_future().share()] {
    started.set_value();
    wait.wait();
  }));
  started.get_future().wait();
  EXPECT_TRUE(lanes.post(0, [&] { order.push_back(1); }));
  EXPECT_TRUE(lanes.post(0, [&] {
    order.push_back(2);
    done.set_value();
  }));
  EXPECT_FALSE(lanes.post(0, [&] { order.push_back(3); }));
  release.set_value();
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(Lanes, StopWaitsForTheRunningJobAndDropsTheRest) {
  Lanes lanes(4);
  std::promise<void> started;
  bool finished = false, dropped_ran = false;
  auto held = std::make_shared<int>(0);
  ASSERT_TRUE(lanes.post(0, [&] {
    started.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    finished = true;
  }));
  started.get_future().wait();
  ASSERT_TRUE(lanes.post(0, [&, held] { dropped_ran = true; }));
  lanes.stop();
  EXPECT_TRUE(finished);
  EXPECT_FALSE(dropped_ran);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(lanes.post(0, [] {}));
  lanes.stop();
}

}  // namespace
}  // namespace tw::serve
