// What a plan says of memory, against numbers counted from the shapes by hand.
#include <gtest/gtest.h>

#include "train/run_prepare.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

const std::string kTeacher = std::string(TW_SOURCE_DIR) + "/tests/golden/families/qwen2";
/// Of that model: 288 tokens of width 64; 2 layers with 4 query and 2 key heads of 16, biases, and 80 units.
constexpr std::size_t kOfALayer = 64 * 64 + 64 + 2 * (32 * 64 + 32) + 64 * 64 + 3 * 64 * 80 + 2 * 64;
constexpr std::size_t kWeights = 288 * 64 + 2 * kOfALayer + 64;

StepMemory memory_of_run(const spec::TrainConfig& config) {
  base::Team team(1);
  Watcher watcher;
  const auto run = prepare_run(config, {}, team, watcher);
  EXPECT_TRUE(run.ok()) << run.error().text();
  const auto memory = memory_of(*run, 1);
  EXPECT_TRUE(memory.ok()) << memory.error().text();
  return *memory;
}

TEST(RunMemory, HasATeachersWeightsOnce) {
  spec::TrainConfig config = small_run(test_folder());
  config.precision = "fp32";
  config.tokenizer = {"file", 0, kTeacher};
  const StepMemory alone = memory_of_run(config);
  EXPECT_EQ(alone.loaded, 0U);
  for (spec::TrainStage& stage : config.stages) stage.teacher.path = kTeacher;
  const StepMemory taught = memory_of_run(config);
  EXPECT_EQ(taught.loaded, 4 * kWeights) << "in fp32, as its file has them";
  EXPECT_LT(taught.taken, taught.loaded) << "its matrices lie in the file's pages";
  EXPECT_GT(taught.frozen, 0U);
  EXPECT_EQ(taught.all(), taught.masters + taught.gradients + taught.moments + taught.multiplied +
                              taught.activations + taught.cache + taught.scratch + taught.frozen +
                              4 * kWeights);
}

TEST(RunMemory, HasAnAdaptersBase) {
  spec::TrainConfig config = small_run(test_folder());
  config.stages.pop_back();
  config.model = {};
  config.tokenizer = {};
  config.adapter.rank = 4;
  config.stages[0].start = kTeacher;
  EXPECT_EQ(memory_of_run(config).loaded, 4 * kWeights);
}

TEST(RunMemory, HasTheMasksOfPruning) {
  spec::TrainConfig config = small_run(test_folder());
  config.precision = "fp32";
  config.model.layers = 2;
  config.model.width = 64;
  config.model.ffn_width = 96;
  const std::size_t weights = 257 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64) + 64;  // bytes and an end
  const StepMemory plain = memory_of_run(config);
  EXPECT_EQ(plain.masks, 0U);
  EXPECT_EQ(plain.masters, 4 * weights);
  config.stages[0].pruning.ffn_width = 32;
  const StepMemory pruned = memory_of_run(config);
  const std::size_t scores = 2 * 96;
  EXPECT_EQ(pruned.masks, 4 * (2 * 64 * 96 + 2 * 96)) << "down_proj unmasked, and a number a unit";
  EXPECT_EQ(pruned.masters, 4 * (weights + scores));
  EXPECT_EQ(pruned.gradients, 4 * (weights + scores));
  EXPECT_EQ(pruned.moments, 8 * (weights + scores));
}

/// What is counted is what a trainer has.
TEST(RunMemory, OfMasksIsWhatTheTrainerTakes) {
  base::Team team(1);
  spec::TrainModel shape;
  shape.layers = 2;
  shape.width = 64;
  shape.ffn_width = 96;
  const spec::ModelConfig config = config_of(shape, 500, 128).value();
  TrainerOptions options;
  options.rows = 128;
  options.isa = "avx2";
  options.pruning.width = 32;
  const StepMemory traced = trace_step(config, options, 1).value();
  const StepMemory made = memory_of(*Trainer::make(config, options, team).value());
  EXPECT_EQ(traced.masks, made.masks);
  EXPECT_EQ(traced.masters, made.masters);
  EXPECT_EQ(traced.moments, made.moments);
}

}  // namespace
}  // namespace tw::train
