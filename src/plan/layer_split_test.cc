#include "plan/layer_split.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace tw::plan {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Every way to deal the layers.
void each_split(int layers, int stages, std::vector<int>& taken,
                const std::function<void(const std::vector<int>&)>& look) {
  if (stages == 1) {
    taken.push_back(layers);
    look(taken);
    taken.pop_back();
    return;
  }
  for (int n = 1; n <= layers - stages + 1; ++n) {
    taken.push_back(n);
    each_split(layers - n, stages - 1, taken, look);
    taken.pop_back();
  }
}

std::optional<LayerSplit> by_force(int layers, int stages, const StageCost& cost) {
  std::optional<LayerSplit> best;
  std::vector<int> taken;
  each_split(layers, stages, taken, [&](const std::vector<int>& split) {
    LayerSplit s{split, 0, 0};
    for (int stage = 0, first = 0; stage < stages; first += split[stage], ++stage) {
      const double seconds = cost(stage, first, split[stage]);
      s.slowest = std::max(s.slowest, seconds), s.together += seconds;
    }
    if (s.slowest == kInfinite) return;
    const bool same = best && std::fabs(s.slowest / best->slowest - 1) < 1e-9;
    if (!best || (same ? s.together < best->together : s.slowest < best->slowest)) best = s;
  });
  return best;
}

/// Stages of random speeds and rooms for layers of two kinds, the last with a head besides.
struct Fleet {
  std::vector<double> speed, room, own;
  double heavy = 1;
  int light = 0;  ///< layers before the heavy ones

  StageCost cost() const {
    return [this](int stage, int first, int count) {
      const int of_light = std::max(0, std::min(first + count, light) - first);
      const double work = of_light + heavy * (count - of_light);
      return work > room[stage] ? kInfinite : work / speed[stage] + own[stage];
    };
  }
};

TEST(PlanLayerSplit, FindsWhatTryingAllFinds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> even(0, 1);
  int possible = 0;
  for (int round = 0; round < 400; ++round) {
    const int stages = 1 + static_cast<int>(random() % 5), layers = stages + static_cast<int>(random() % 9);
    Fleet fleet;
    const double speeds[] = {1, 1 + 2 * even(random)};  // two kinds
    for (int s = 0; s < stages; ++s) {
      fleet.speed.push_back(speeds[s < stages / 2 ? 0 : 1]);
      fleet.room.push_back((1 + 3 * even(random)) * layers / stages);
      fleet.own.push_back(s + 1 == stages ? 0.7 : 0.1);
    }
    if (round % 2 == 1) fleet.heavy = 1 + even(random), fleet.light = static_cast<int>(random() % layers);
    const auto found = split_layers(layers, stages, fleet.cost());
    const auto best = by_force(layers, stages, fleet.cost());
    ASSERT_EQ(found.has_value(), best.has_value()) << round;
    if (!best) continue;
    ++possible;
    EXPECT_NEAR(found->slowest / best->slowest, 1, 1e-8) << round;
    EXPECT_NEAR(found->together / best->together, 1, 1e-6) << round;
    int sum = 0;
    for (const int n : found->layers) sum += n;
    EXPECT_EQ(sum, layers);
  }
  EXPECT_GT(possible, 200);
}

TEST(PlanLayerSplit, TheFasterKindTakesMore) {
  const auto cost = [](int stage, int, int count) { return count / (stage < 2 ? 1.0 : 3.0); };
  const auto split = split_layers(32, 4, cost);
  ASSERT_TRUE(split);
  EXPECT_EQ(split->layers, (std::vector<int>{4, 4, 12, 12}));
  EXPECT_DOUBLE_EQ(split->slowest, 4);
  // Room for eight there: what is left makes the slow ones slower.
  const auto tight = [&](int stage, int first, int count) {
    return stage >= 2 && count > 8 ? kInfinite : cost(stage, first, count);
  };
  const auto crowded = split_layers(32, 4, tight);
  ASSERT_TRUE(crowded);
  EXPECT_EQ(crowded->layers, (std::vector<int>{8, 8, 8, 8}));
  EXPECT_FALSE(split_layers(32, 4, [](int, int, int count) { return count > 7 ? kInfinite : count; }));
}

}  // namespace
}  // namespace tw::plan
