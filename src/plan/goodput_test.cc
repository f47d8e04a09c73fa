#include "plan/goodput.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "plan/estimate.h"
#include "plan/test_setting.h"

namespace tw::plan {
namespace {

TEST(PlanGoodput, IsYoungsAndDalys) {
  // facts: 16,384 GPUs, MTBF 3.1 h, C 10 s, R 15 min: interval 7.9 min, 12.3 % lost.
  const auto g = goodput(2048, 3.78, 10, 900);
  ASSERT_TRUE(g.ok());
  EXPECT_NEAR(g->mtbf / 3600, 3.1, 0.01);
  EXPECT_NEAR(g->interval / 60, 7.9, 0.05);
  EXPECT_NEAR(g->share, 1 - 0.123, 0.001);
  EXPECT_EQ(g->waiting, 0);
  EXPECT_EQ(goodput(2048, 0, 10, 900)->share, 1);
  EXPECT_EQ(goodput(2048, 0, 10, 900, Spares{0, 86400})->share, 1);
  EXPECT_FALSE(goodput(1e6, 100, 60, 900).ok());
}

/// A run, failure by failure: what was trained and kept, and what was waited.
struct Lived {
  double useful = 0, waited = 0, time = 0;
};

enum class Repairs { kAlike, kExponential, kMostlyShort };

Lived live(double mtbf, double interval, double checkpoint, double restart, std::size_t spares, double repair,
           Repairs kind) {
  std::mt19937_64 random(7);
  std::exponential_distribution<double> failure(1 / mtbf), one(1);
  std::uniform_real_distribution<double> share(0, 1);
  std::multiset<double> back;  // when nodes in repair are
  Lived r;
  for (int failures = 0; failures < 200'000; ++failures) {
    // A restart, then pieces of work, each kept by a checkpoint; the last is lost.
    const double runs = failure(random);
    r.useful += interval * std::floor(std::max(0.0, runs - restart) / (interval + checkpoint));
    r.time += runs;
    const double away = kind == Repairs::kAlike         ? repair
                        : kind == Repairs::kExponential ? repair * one(random)
                        : share(random) < 0.9           ? repair / 2
                                                        : repair * 5.5;
    back.insert(r.time + away);
    while (!back.empty() && *back.begin() <= r.time) back.erase(back.begin());
    if (back.size() <= spares) continue;
    r.waited += *back.begin() - r.time;
    r.time = *back.begin();
    back.erase(back.begin());
  }
  return r;
}

TEST(PlanGoodput, WithSparesIsThatOfARunFailureByFailure) {
  // 256 nodes at ten failures in 1,000 days: one in 9.4 h, so that 2.6 are away on average where all run.
  for (const Repairs kind : {Repairs::kAlike, Repairs::kExponential, Repairs::kMostlyShort}) {
    for (const int spares : {0, 1, 3, 6, 12}) {
      const auto g = goodput(256, 10, 30, 900, Spares{static_cast<double>(spares), 86400});
      ASSERT_TRUE(g.ok());
      const Lived r = live(g->mtbf, g->interval, 30, 900, spares, 86400, kind);
      EXPECT_NEAR(g->waiting, r.waited / r.time, 0.006) << spares << ' ' << static_cast<int>(kind);
      EXPECT_NEAR(g->share, r.useful / r.time, 0.006) << spares << ' ' << static_cast<int>(kind);
    }
  }
}

TEST(PlanGoodput, ByHand) {
  // Alone, a node that runs a day and is away three runs a quarter of the time.
  EXPECT_NEAR(goodput(1, 1000, 0, 0, Spares{0, 3 * 86400})->waiting, 0.75, 1e-12);
  EXPECT_NEAR(goodput(1, 1000, 0, 0, Spares{0, 3 * 86400})->away, 0.75, 1e-12);
  // Many spares are as good as what is always there, and more are never worse.
  const double always = goodput(100, 5, 30, 900)->share;
  double before = 0;
  for (int spares = 0; spares < 10; ++spares) {
    const double share = goodput(100, 5, 30, 900, Spares{static_cast<double>(spares), 86400})->share;
    EXPECT_GT(share, before);
    before = share;
  }
  EXPECT_NEAR(goodput(100, 5, 30, 900, Spares{1 << 20, 86400})->share, always, 1e-12);
}

double figure(const Setting& s, const char* key) {
  spec::ParallelPlan plan;
  plan.data = static_cast<int>(s.cluster.accelerators);
  plan.zero = 3, plan.shard = 0, plan.recompute = spec::Recompute::kFull;
  const auto e = estimate(s, plan);
  EXPECT_TRUE(e.ok()) << e.error().text();
  for (const Figure& f : e->figures) {
    if (f.key == key && f.value) return f.value->value;
  }
  return -1;
}

TEST(PlanGoodput, SparesCostPowerAndMoney) {
  const auto with = [](double spares, double failures, double repair = 86400) {
    return test_setting("llama-2-7b", "H100", 64, 1024, 4096, [&](spec::ClusterSpec& c) {
      c.rent = {2.5, true}, c.failures = failures, c.repair = {repair, false};
      if (spares >= 0) c.spares = {spares, true};
    });
  };
  // Where nothing fails they only cost: two nodes of eight, that idle at a fifth of 700 W, beside 64.
  const double days = figure(with(-1, 0), "days");
  EXPECT_EQ(figure(with(2, 0), "days"), days);
  EXPECT_NEAR(figure(with(2, 0), "megawatts") - figure(with(-1, 0), "megawatts"),
              16 * (0.2 * 700 + 450 + 50) * 1.25 / 1e6, 1e-9);
  EXPECT_NEAR(figure(with(2, 0), "rent_usd") / figure(with(-1, 0), "rent_usd"), 80.0 / 64, 1e-9);
  EXPECT_GT(figure(with(2, 0), "own_usd"), 1.2 * figure(with(-1, 0), "own_usd"));
  // None to be had: eight nodes at 3.8 in 1,000 days are 0.03 failures a day, and a day each.
  EXPECT_NEAR(figure(with(-1, 3.8), "days") / figure(with(0, 3.8), "days"), 1 / (1 + 8 * 3.8e-3), 1e-9);
  EXPECT_NEAR(figure(with(0, 3.8), "waiting_for_repair"), 100 * (1 - 1 / (1 + 8 * 3.8e-3)), 1e-9);
  EXPECT_GT(figure(with(0, 3.8, 10 * 86400), "days"), 1.2 * figure(with(0, 3.8), "days"));
  EXPECT_LT(figure(with(1, 3.8), "days"), figure(with(0, 3.8), "days"));
  EXPECT_EQ(figure(with(1, 3.8), "spares"), 1);
  EXPECT_EQ(figure(with(-1, 3.8), "spares"), -1);
  EXPECT_EQ(figure(with(-1, 3.8), "nodes_in_repair"), -1);
}

}  // namespace
}  // namespace tw::plan
