// How long a stage is where a recipe says it in several ways.
#include <gmock/gmock.h>

#include "train/run_prepare.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

spec::TrainConfig one_stage(const std::string& folder) {
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.stages[0].steps = 0;
  return config;
}

TEST(RunLength, WhicheverIsOverFirst) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher by_steps, by_time;
  spec::TrainConfig config = one_stage(folder);
  config.stages[0].steps = 6;
  config.stages[0].minutes = 50;
  const auto few = train_run(config, team, {}, by_steps);
  ASSERT_TRUE(few.ok()) << few.error().text();
  EXPECT_TRUE(few->finished);
  EXPECT_EQ(few->step, 6);
  config.out += "2";
  config.stages[0].steps = 100'000'000;
  config.stages[0].minutes = 0.04;
  const auto short_one = train_run(config, team, {}, by_time);
  ASSERT_TRUE(short_one.ok()) << short_one.error().text();
  EXPECT_TRUE(short_one->finished);
  EXPECT_GT(short_one->step, 0);
  EXPECT_LT(short_one->step, 1'000'000);
}

TEST(RunLength, TokensAreStepsAndTheLesserCounts) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher watcher;
  for (const auto& [steps, tokens, wanted] : {std::tuple{0, 1000, 8}, {5, 1000, 5}, {50, 1000, 8}}) {
    spec::TrainConfig config = one_stage(folder);
    config.stages[0].steps = steps;
    config.stages[0].tokens = tokens;  // of 128 a step
    const auto run = prepare_run(config, {}, team, watcher);
    ASSERT_TRUE(run.ok()) << run.error().text();
    EXPECT_EQ(run->config.stages[0].steps, wanted);
    EXPECT_EQ(run->config.stages[0].minutes, 0);
  }
}

}  // namespace
}  // namespace tw::train
