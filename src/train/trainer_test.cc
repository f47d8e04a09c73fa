// Whole steps against PyTorch's (tests/golden/train, by tools/make_train_golden.py), and what a trainer
// promises.
#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "train/test_golden.h"
#include "train/test_sets.h"

namespace tw::train {
namespace {

double relative_error(std::span<const float> got, const std::vector<float>& wanted) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    off += std::pow(double{got[i]} - wanted[i], 2);
    size += std::pow(wanted[i], 2);
  }
  return std::sqrt(off / std::max(size, 1e-10));  // a bias of GPT-2's keys has a gradient of 0
}

TEST(Trainer, LearnsAsPyTorchDoes) {
  const base::Json all = golden();
  base::Team team(2);
  for (const std::string& isa : exact_sets()) {
    for (const base::Json& model : all["models"]) {
      SCOPED_TRACE(isa + " " + model["family"].get<std::string>());
      TrainerOptions options = options_of(all);
      options.isa = isa;
      const auto trainer = trainer_of(all, model, options, team);
      ASSERT_TRUE(trainer->accumulate(batches_of(all, 0)).ok());
      const auto gradients = stored(model, trainer->params().store(), true);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        EXPECT_LT(relative_error(trainer->params().gradient(i), gradients[i]), 1e-3)
            << trainer->params().store().params()[i].name;
      }
      for (int step = 0; step < std::ssize(model["losses"]); ++step) {
        const auto report = trainer->step(batches_of(all, step), all["rate"].get<double>());
        ASSERT_TRUE(report.ok()) << report.error().text();
        const double loss = model["losses"][step].get<double>(),
                     norm = model["gradient_norms"][step].get<double>();
        EXPECT_NEAR(report->loss, loss, 1e-4 * loss) << "step " << step;
        EXPECT_NEAR(report->gradient_norm, norm, 1e-3 * norm) << "step " << step;
        EXPECT_EQ(report->tokens, 31);
      }
    }
  }
}

TEST(Trainer, InBf16StaysNear) {
  const base::Json all = golden();
  base::Team team(2);
  for (const base::Json& model : all["models"]) {
    TrainerOptions options = options_of(all);
    options.type = base::DType::kBF16;
    const auto trainer = trainer_of(all, model, options, team);
    for (int step = 0; step < std::ssize(model["losses"]); ++step) {
      const auto report = trainer->step(batches_of(all, step), all["rate"].get<double>());
      EXPECT_NEAR(report->loss, model["losses"][step].get<double>(), 0.05) << "step " << step;
    }
  }
}

constexpr std::size_t kExperts = 4, kSharedExpert = 5;  ///< the models that have some

std::vector<float> weights_after(int workers, const base::Json& all, bool apart, std::size_t model = 2) {
  base::Team team(workers);
  const auto trainer = trainer_of(all, all["models"][model], options_of(all), team);
  for (int step = 0; step < 5; ++step) EXPECT_TRUE(trainer->step(batches_of(all, step, apart), 1e-3).ok());
  return {trainer->params().masters().begin(), trainer->params().masters().end()};
}

TEST(Trainer, HasTheSameBitsForAnyNumberOfWorkers) {
  const base::Json all = golden();
  const std::vector<float> alone = weights_after(1, all, true);
  for (const int workers : {2, 3}) EXPECT_EQ(weights_after(workers, all, true), alone) << workers;
  for (const std::size_t model : {kExperts, kSharedExpert})
    EXPECT_EQ(weights_after(3, all, true, model), weights_after(1, all, true, model)) << model;
}

/// Of experts that take at most so many times their even share.
std::vector<float> weights_with_capacity(int workers, const base::Json& all, double capacity) {
  base::Team team(workers);
  spec::ModelConfig config = config_of(all, all["models"][kExperts]);
  config.experts.capacity = capacity;
  TrainerOptions options = options_of(all);
  options.objective.balance = 0.05;
  const auto trainer = Trainer::make(config, options, team).value();
  for (int step = 0; step < 3; ++step) EXPECT_TRUE(trainer->step(batches_of(all, step, true), 1e-3).ok());
  return {trainer->params().masters().begin(), trainer->params().masters().end()};
}

TEST(Trainer, ExpertsTurnAwayWhatIsBeyondTheirCapacity) {
  const base::Json all = golden();
  const std::vector<float> any = weights_with_capacity(2, all, 0), few = weights_with_capacity(1, all, 0.5);
  EXPECT_EQ(weights_with_capacity(3, all, 0.5), few);
  EXPECT_GT(relative_error(few, any), 1e-4);
  // All rows could take one of the five, two of which each takes.
  EXPECT_EQ(weights_with_capacity(2, all, 2.5), any);
}

TEST(Trainer, CapacityBoundsTheMemoryOfTheWorst) {
  const base::Json all = golden();
  base::Team team(1);
  spec::ModelConfig config = config_of(all, all["models"][kExperts]);
  TrainerOptions options = options_of(all);
  options.rows = 2048;
  const auto any = Trainer::make(config, options, team).value();
  config.experts.capacity = 1;
  EXPECT_LT(Trainer::make(config, options, team).value()->activation_bytes(), any->activation_bytes());
}

/// Nothing that is asked of a model hangs on what is asked beside it.
TEST(Trainer, NobodyIsTurnedAwayWhileAModelIsMeasured) {
  const base::Json all = golden();
  base::Team team(2);
  spec::ModelConfig config = config_of(all, all["models"][kExperts]);
  const auto any = Trainer::make(config, options_of(all), team).value();
  config.experts.capacity = 0.1;
  const auto few = Trainer::make(config, options_of(all), team).value();
  EXPECT_EQ(few->evaluate(batches_of(all, 0)).value(), any->evaluate(batches_of(all, 0)).value());
  EXPECT_NE(few->accumulate(batches_of(all, 0))->loss, any->accumulate(batches_of(all, 0))->loss);
}

TEST(Trainer, AccumulatesBatchesToOneStep) {
  const base::Json all = golden();
  EXPECT_LT(relative_error(weights_after(2, all, true), weights_after(2, all, false)), 1e-5);
}

TEST(Trainer, RecomputingChangesNoBit) {
  const base::Json all = golden();
  base::Team team(2);
  for (const base::Json& model : all["models"]) {
    for (const base::DType type : {base::DType::kF32, base::DType::kBF16}) {
      TrainerOptions options = options_of(all);
      options.type = type;
      const auto plain = trainer_of(all, model, options, team);
      options.recompute = true;
      const auto again = trainer_of(all, model, options, team);
      for (int step = 0; step < 3; ++step) {
        const auto report = plain->step(batches_of(all, step, true), 1e-2);
        EXPECT_EQ(again->step(batches_of(all, step, true), 1e-2)->loss, report->loss);
        EXPECT_TRUE(std::ranges::equal(plain->params().gradients(), again->params().gradients()));
      }
      EXPECT_TRUE(std::ranges::equal(plain->params().masters(), again->params().masters()))
          << model["family"];
    }
  }
}

void expect_the_memory_of_one_layer(spec::ModelConfig config) {
  base::Team team(2);
  TrainerOptions options;
  options.rows = 512;
  std::map<std::int64_t, std::size_t> plain, again;
  for (const std::int64_t layers : {4, 12}) {
    config.layers = layers;
    options.recompute = false;
    plain[layers] = Trainer::make(config, options, team).value()->activation_bytes();
    options.recompute = true;
    again[layers] = Trainer::make(config, options, team).value()->activation_bytes();
  }
  // A layer more costs its input alone: rows of 16 floats.
  EXPECT_EQ(again[12] - again[4], 8U * 512 * 16 * sizeof(float));
  EXPECT_GT(plain[12] - plain[4], 8 * (again[12] - again[4]));
}

TEST(Trainer, RecomputingTakesTheMemoryOfOneLayer) {
  const base::Json all = golden();
  for (const std::size_t model : {std::size_t{0}, kExperts, kSharedExpert})
    expect_the_memory_of_one_layer(config_of(all, all["models"][model]));
}

TEST(Trainer, EvaluatesWhatItWouldLearn) {
  const base::Json all = golden();
  base::Team team(2);
  const auto trainer = trainer_of(all, all["models"][0], options_of(all), team);
  const double loss = trainer->evaluate(batches_of(all, 3, true)).value();
  EXPECT_NEAR(loss, trainer->accumulate(batches_of(all, 3))->loss, 1e-6);
  // A document is not moved by what is packed beside it.
  auto batch = batches_of(all, 3);
  std::fill(batch[0].weights.begin() + 12, batch[0].weights.end(), 0.0F);
  const double first = trainer->evaluate(batch).value();
  batch[0].tokens[20] = 1;
  EXPECT_EQ(trainer->evaluate(batch).value(), first);
  auto alone = batches_of(all, 3, true);
  alone.pop_back();
  EXPECT_EQ(trainer->evaluate(alone).value(), first);
}

TEST(Trainer, SkipsStepsThatAreNotFinite) {
  const base::Json all = golden();
  base::Team team(1);
  const auto trainer = trainer_of(all, all["models"][0], options_of(all), team);
  trainer->params().master(0)[7 * 16] = INFINITY;  // of token 7, which step 0 has
  const std::vector<float> before(trainer->params().masters().begin(), trainer->params().masters().end());
  const auto report = trainer->step(batches_of(all, 0), 1e-3);
  EXPECT_TRUE(report->skipped);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), trainer->params().masters().begin()));
  trainer->params().master(0)[7 * 16] = 0.1F;
  EXPECT_FALSE(trainer->step(batches_of(all, 0), 1e-3)->skipped);
}

/// Memory was sized for one document of 300 tokens: every other packing must fit.
void run_any_packing(const base::Json& all, const base::Json& model, base::DType type, base::Team& team) {
  spec::ModelConfig config = config_of(all, model);
  config.vocab = 700;
  TrainerOptions options = options_of(all);
  options.rows = 300;
  options.type = type;
  const auto trainer = Trainer::make(config, options, team).value();
  for (const std::vector<int>& lengths : std::vector<std::vector<int>>{
           {300}, {1}, {17}, {1, 299}, {129, 1, 1, 33}, {64, 64, 65}, std::vector<int>(300, 1)}) {
    TrainBatch batch;
    for (const int length : lengths) {
      std::vector<std::int32_t> ids;
      for (int t = 0; t <= length; ++t) ids.push_back(t * 13 % 700);
      batch.add_document(ids);
    }
    const auto report = trainer->step(std::span(&batch, 1), 1e-3);
    ASSERT_TRUE(report.ok()) << report.error().text();
    EXPECT_NEAR(report->loss, std::log(700), 0.7);
    EXPECT_FALSE(report->skipped);
  }
}

TEST(Trainer, RunsAnyPackingInTheMemoryOfTheWorst) {
  const base::Json all = golden();
  base::Team team(2);
  for (const base::DType type : {base::DType::kF32, base::DType::kBF16}) {
    for (const std::size_t model : {std::size_t{2}, kExperts, kSharedExpert})
      run_any_packing(all, all["models"][model], type, team);
  }
}

TEST(Trainer, RefusesBatchesThatDoNotFit) {
  const base::Json all = golden();
  base::Team team(1);
  TrainerOptions options = options_of(all);
  options.rows = 16;
  const auto trainer = trainer_of(all, all["models"][0], options, team);
  EXPECT_THAT(trainer->step(batches_of(all, 0), 1e-3).error().text(), testing::HasSubstr("made for 16"));
  auto batch = batches_of(all, 0, true);
  batch.pop_back();
  batch[0].weights.assign(12, 0.0F);
  EXPECT_THAT(trainer->step(batch, 1e-3).error().text(), testing::HasSubstr("no token of weight"));
  EXPECT_EQ(trainer->steps_done(), 0);
}

TEST(Trainer, BeginsWithWeightsOfTheirNamesAndPlaces) {
  const base::Json all = golden();
  base::Team team(1);
  const spec::ModelConfig config = config_of(all, all["models"][1]);
  const auto one = Trainer::make(config, options_of(all), team).value();
  const model::ParamStore& store = one->params().store();
  for (std::size_t i = 0; i < store.params().size(); ++i) {
    double sum = 0, squares = 0;
    for (const float x : one->params().master(i)) sum += x, squares += x * x;
    const auto n = static_cast<double>(store.params()[i].elements());
    if (store.params()[i].use == model::Use::kVector) {
      EXPECT_EQ(sum, store.params()[i].name.ends_with(".bias") ? 0 : n);
    } else {
      const bool adds = store.params()[i].name.find("o_proj") != std::string::npos ||
                        store.params()[i].name.find("down_proj") != std::string::npos;
      EXPECT_NEAR(std::sqrt(squares / n), adds ? 0.01 : 0.02, 0.002) << store.params()[i].name;
    }
  }
  EXPECT_NE(one->params().master(0)[0], one->params().master(0)[1]);
}

}  // namespace
}  // namespace tw::train
