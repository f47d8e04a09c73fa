#include "train/width_mask.h"

#include <gmock/gmock.h>

#include <cmath>

#include "train/run_checkpoint.h"
#include "train/trainer.h"

namespace tw::train {
namespace {

const std::string kStudent = TW_SOURCE_DIR "/tests/golden/objectives/student";
constexpr std::int64_t kUnits = 32;

/// A tiny model whose feed-forward layers are to become narrower.
std::unique_ptr<Trainer> pruning_trainer(base::Team& team, std::int64_t width) {
  TrainerOptions options;
  options.isa = "ref";
  options.rows = 48;
  options.pruning = {width, 0.5, 30};
  const auto files = model::ModelFiles::open(kStudent).value();
  auto trainer = Trainer::make(files->config().value(), options, team);
  EXPECT_TRUE(trainer.ok()) << trainer.error().text();
  EXPECT_TRUE(load_weights(*files, **trainer).ok());
  return *std::move(trainer);
}

TrainBatch some_batch() {
  TrainBatch batch;
  for (int document = 0; document < 2; ++document) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < 20; ++t) ids.push_back((7 * t + 3 * document) % 48);
    batch.add_document(ids);
  }
  return batch;
}

std::size_t number_of(const Trainer& trainer, const std::string& name) {
  const auto& all = trainer.params().store().params();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].name == name) return i;
  }
  ADD_FAILURE() << name;
  return 0;
}

/// Puts unmasked numbers where they were, and changes one parameter by `factor` times `direction`.
void move(Trainer& trainer, const std::vector<std::vector<float>>& weights, std::size_t moved,
          const std::vector<float>& direction, double factor) {
  for (std::size_t i = 0; i < weights.size(); ++i)
    std::copy(weights[i].begin(), weights[i].end(), trainer.params().master(i).begin());
  for (std::size_t at = 0; at < direction.size(); ++at)
    trainer.params().master(moved)[at] += static_cast<float>(factor * double{direction[at]});
  trainer.refresh();
}

std::vector<std::vector<float>> unmasked(const Trainer& trainer) {
  std::vector<std::vector<float>> all;
  for (std::size_t i = 0; i < trainer.params().store().params().size(); ++i) {
    const float* from = trainer.mask()->numbers(i);
    all.emplace_back(from, from + trainer.params().store().params()[i].elements());
  }
  return all;
}

/// Scores that are spread, and a width between all units and the one wanted.
std::unique_ptr<Trainer> half_done(base::Team& team) {
  auto trainer = pruning_trainer(team, 12);
  auto weights = unmasked(*trainer);
  for (const int layer : {0, 1}) {
    std::vector<float>& scores =
        weights[number_of(*trainer, "model.layers." + std::to_string(layer) + ".mlp.mask")];
    for (std::int64_t unit = 0; unit < kUnits; ++unit)
      scores[unit] = 0.02F * static_cast<float>((unit * 7 + layer) % kUnits - 16);
  }
  trainer->set_pruned(0.4);
  move(*trainer, weights, 0, {}, 0);
  return trainer;
}

/// Along each gradient, by the length of the step.
TEST(WidthMask, GradientsAreThoseOfFiniteDifferences) {
  base::Team team(2);
  const auto trainer = half_done(team);
  const TrainBatch batch = some_batch();
  const auto weights = unmasked(*trainer);
  for (const char* name : {"model.layers.0.mlp.mask", "model.layers.1.mlp.mask",
                           "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.up_proj.weight"}) {
    const std::size_t i = number_of(*trainer, name);
    move(*trainer, weights, 0, {}, 0);
    ASSERT_TRUE(trainer->accumulate({&batch, 1}).ok());
    std::vector<float> direction(trainer->params().gradient(i).begin(), trainer->params().gradient(i).end());
    double length = 0;
    for (const float g : direction) length += double{g} * double{g};
    length = std::sqrt(length);
    ASSERT_GT(length, 1e-3) << name;
    const double step = (std::string(name).ends_with("mask") ? 1e-3 : 2e-2) / length;
    move(*trainer, weights, i, direction, step);
    const double above = trainer->evaluate({&batch, 1}).value();
    move(*trainer, weights, i, direction, -step);
    const double slope = (above - trainer->evaluate({&batch, 1}).value()) / (2 * step);
    EXPECT_NEAR(slope / (length * length), 1, 0.01) << name;
  }
}

TEST(WidthMask, WhatIsCutOutIsTheMaskedModelWhenMasksAreHard) {
  base::Team team(2);
  const auto trainer = half_done(team);
  trainer->set_pruned(1);
  move(*trainer, unmasked(*trainer), 0, {}, 0);
  const TrainBatch batch = some_batch();
  const double masked = trainer->evaluate({&batch, 1}).value();
  std::vector<std::vector<float>> memory;
  const auto entries = trainer->mask()->pruned(memory);
  spec::ModelConfig config = trainer->transformer().config();
  config.ffn_width = 12;
  TrainerOptions options = trainer->options();
  options.pruning = {};
  const auto smaller = Trainer::make(config, options, team).value();
  ASSERT_EQ(entries.size(), smaller->params().store().params().size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    ASSERT_EQ(entries[i].name, smaller->params().store().params()[i].name);
    ASSERT_EQ(entries[i].shape, smaller->params().store().params()[i].shape);
    const auto* numbers = reinterpret_cast<const float*>(entries[i].data);
    std::copy_n(numbers, smaller->params().master(i).size(), smaller->params().master(i).begin());
  }
  smaller->refresh();
  EXPECT_NEAR(smaller->evaluate({&batch, 1}).value(), masked, 1e-4);
}

TEST(WidthMask, WithAllUnitsNothingIsMasked) {
  base::Team team(1);
  const auto trainer = pruning_trainer(team, 12);
  TrainerOptions options = trainer->options();
  options.pruning = {};
  const auto plain = Trainer::make(trainer->transformer().config(), options, team).value();
  ASSERT_TRUE(load_weights(*model::ModelFiles::open(kStudent).value(), *plain).ok());
  const TrainBatch batch = some_batch();
  EXPECT_EQ(trainer->evaluate({&batch, 1}).value(), plain->evaluate({&batch, 1}).value());
  EXPECT_EQ(trainer->step({&batch, 1}, 1e-3)->loss, plain->step({&batch, 1}, 1e-3)->loss);
  EXPECT_NEAR(trainer->evaluate({&batch, 1}).value(), plain->evaluate({&batch, 1}).value(), 1e-6);
}

}  // namespace
}  // namespace tw::train
