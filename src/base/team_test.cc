// The Team under every number of workers, with workers that are late; the roster's choices; processor lists.
#include "base/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <random>
#include <thread>

namespace tw::base {
namespace {

using namespace std::chrono_literals;

/// Sums 0..999 `rounds` times, each round's result made from all workers' parts after a barrier.
void sum_together(Team& team, int worker, int workers, std::vector<std::int64_t>& parts,
                  std::vector<std::int64_t>& totals) {
  for (std::int64_t& total : totals) {
    parts[worker] = 0;
    for (int i = worker; i < 1000; i += workers) parts[worker] += i;
    team.barrier().wait();
    if (worker == 0) total = std::accumulate(parts.begin(), parts.begin() + workers, std::int64_t{0});
    team.barrier().wait();
  }
}

TEST(Team, AnyNumberOfWorkersGivesTheSameSum) {
  Team team(4);
  std::vector<std::int64_t> parts(4);
  std::minstd_rand random(7);
  for (int step = 0; step < 90; ++step) {
    std::vector<std::int64_t> totals(3);
    const int count = 1 + static_cast<int>(random() % 4);
    std::atomic<int> seen{0};
    const Team::Job job = [&](int worker, int workers) {
      ++seen;
      sum_together(team, worker, workers, parts, totals);
    };
    if (step % 3 == 0) {
      team.run_available(job);
    } else if (step % 3 == 1) {
      team.run(count, job);
      ASSERT_EQ(seen, count);
    } else {
      team.run([&](int worker) { job(worker, team.size()); });
      ASSERT_EQ(seen, 4);
    }
    ASSERT_EQ(totals, std::vector<std::int64_t>(3, 499500)) << "step " << step;
  }
}

TEST(Team, WaitsForALateWorker) {
  Team team(3);
  std::vector<std::int64_t> parts(3);
  for (int late = 0; late < 3; ++late) {
    std::vector<std::int64_t> totals(3);
    team.run([&](int worker) {
      // Long enough that the others have gone to sleep at the barrier.
      if (worker == late) std::this_thread::sleep_for(30ms);
      sum_together(team, worker, 3, parts, totals);
      if (worker == late) std::this_thread::sleep_for(30ms);
    });
    EXPECT_EQ(totals, std::vector<std::int64_t>(3, 499500));
  }
}

TEST(Team, EndsWhileAWorkerIsTriedAndWhenItNeverRan) {
  const Team idle(3);
  Team one(1);
  int ran = 0;
  one.run([&](int worker) { ran += worker + 1; });
  EXPECT_EQ(ran, 1);
}

TEST(Team, LeavesOutAStarvedWorkerAndTakesItBack) {
  // Worker 1 says that it waits half of the time for as long as there is a neighbour.
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> neighbour{true};
  const auto begin = std::chrono::steady_clock::now();
  Team team(Placement(2), [&] {
    const auto waited = (std::chrono::steady_clock::now() - begin) / 2;
    return std::this_thread::get_id() != caller && neighbour ? waited : 0ns;
  });
  const auto until = [&](int wanted) {
    int workers = 0;
    for (int step = 0; step < 5000 && workers != wanted; ++step) {
      team.run_available([&](int worker, int of) {
        std::this_thread::sleep_for(1ms);
        team.barrier().wait();
        if (worker == 0) workers = of;
      });
    }
    return workers;
  };
  EXPECT_EQ(until(2), 2);
  EXPECT_EQ(until(1), 1);
  for (int step = 0; step < 100; ++step) {
    team.run_available([](int, int workers) {
      std::this_thread::sleep_for(1ms);
      EXPECT_EQ(workers, 1) << "the neighbour is still there";
    });
  }
  neighbour = false;
  EXPECT_EQ(until(2), 2);
}

TEST(RunDelay, GrowsForThreadsThatShareAProcessor) {
  if (!std::ifstream("/proc/thread-self/schedstat").good())
    GTEST_SKIP() << "this kernel does not tell how long threads wait";
  const ThreadPin pin({usable_cpus().front().id});
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
    }
  });
  const auto before = run_delay();
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (run_delay() - before < 5ms && std::chrono::steady_clock::now() < end) {
  }
  stop = true;
  other.join();
  EXPECT_GE(run_delay() - before, 5ms);
}

class RosterTest : public ::testing::Test {
 protected:
  /// `steps` steps of 10 ms in which worker i has its processor for share[i] of the time.
  void steps(Roster& roster, const std::vector<double>& share, int steps) {
    for (int step = 0; step < steps; ++step) {
      for (const int i : roster.members()) {
        roster.record(i, 10ms, std::chrono::duration_cast<Roster::Duration>(10ms * (1 - share[i])));
      }
      now_ += 10ms;
      roster.choose(now_);
    }
  }
  /// Milliseconds until the next trial of a worker is due.
  int until_trial(const Roster& roster, int worker) {
    int passed = 0;
    for (; !roster.trial_due(worker, now_) && passed < 10000; ++passed) now_ += 1ms;
    return passed;
  }
  Roster::Clock::time_point now_{1h};
};

TEST_F(RosterTest, KeepsAllWhenEachHasItsProcessor) {
  Roster roster(4);
  steps(roster, {1, 0.97, 0.98, 1}, 100);
  EXPECT_EQ(roster.members(), (std::vector<int>{0, 1, 2, 3}));
}

TEST_F(RosterTest, LeavesOutTheStarvedOne) {
  Roster roster(4);
  steps(roster, {1, 1, 0.5, 1}, 10);
  EXPECT_EQ(roster.members(), (std::vector<int>{0, 1, 3}));
}

TEST_F(RosterTest, OneThatHasMostOfItsProcessorIsWorthWaitingFor) {
  Roster two(2);
  steps(two, {1, 0.7}, 100);
  EXPECT_EQ(two.members().size(), 2U);
  steps(two, {1, 0.45}, 10);
  EXPECT_EQ(two.members(), std::vector<int>{0});
}

TEST_F(RosterTest, AStarvedCallerGetsTheProcessorOfAnother) {
  Roster roster(2);
  steps(roster, {0.45, 1}, 10);
  EXPECT_EQ(roster.members(), std::vector<int>{0});
}

TEST_F(RosterTest, OneSliceOfTheKernelIsNotStarvation) {
  Roster roster(2);
  steps(roster, {1, 0.6}, 1);
  steps(roster, {1, 1}, 5);
  steps(roster, {1, 0.6}, 1);
  EXPECT_EQ(roster.members().size(), 2U);
}

TEST_F(RosterTest, TriesEverMoreRarelyButWithinAQuarterOfASecond) {
  Roster roster(2);
  steps(roster, {1, 0.4}, 10);
  ASSERT_EQ(roster.members().size(), 1U);
  int last = 0;
  for (int trial = 0; trial < 8; ++trial) {
    const int wait = until_trial(roster, 1);
    EXPECT_GE(wait, last);
    EXPECT_LE(wait, 250);
    last = wait;
    roster.tried(1, false, now_);
  }
  EXPECT_EQ(last, 250);
  until_trial(roster, 1);
  roster.tried(1, true, now_);
  EXPECT_EQ(roster.members().size(), 2U);
  // Left out again at once: no new start of short pauses. After a quiet second: a new start.
  steps(roster, {1, 0.4}, 10);
  EXPECT_GT(until_trial(roster, 1), 150);
  roster.tried(1, true, now_);
  steps(roster, {1, 1}, 150);
  steps(roster, {1, 0.4}, 10);
  EXPECT_LE(until_trial(roster, 1), 30);
}

}  // namespace
}  // namespace tw::base
