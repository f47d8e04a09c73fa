// Every rule of the table of optimizers: against PyTorch (tests/golden/train), and what all of them promise.
#include "train/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/run_size.h"
#include "train/test_golden.h"
#include "train/test_runs.h"
#include "train/test_sets.h"

namespace tw::train {
namespace {

const std::vector<std::string> kKinds = {"adamw", "muon", "adafactor", "rmsprop"};

constexpr double kGoldenWidth = 16;

/// The rule's own epsilon is PyTorch's, but AdamW's part of Muon is told its own.
TrainerOptions options_for(const base::Json& all, const std::string& kind) {
  TrainerOptions o = options_of(all);
  o.optimizer.kind = kind == "mup" ? "adamw" : kind;
  o.optimizer.momentum = all["momentum"].get<double>();
  if (kind == "adafactor" || kind == "rmsprop") o.optimizer.epsilon = 0;
  return o;
}

/// The largest difference of 20 losses, as a share of PyTorch's.
double worst_loss(Trainer& trainer, const base::Json& all, const base::Json& losses, double rate) {
  double worst = 0;
  for (int step = 0; step < std::ssize(losses); ++step) {
    const auto report = trainer.step(batches_of(all, step), rate);
    if (!report.ok()) return INFINITY;
    const double wanted = losses[step].get<double>();
    worst = std::max(worst, std::abs(report->loss - wanted) / wanted);
  }
  return worst;
}

void expect_losses(base::DType type, const std::vector<std::string>& sets, double within) {
  const base::Json all = golden();
  base::Team team(2);
  int compared = 0;
  for (const std::string& isa : sets) {
    for (const base::Json& model : all["models"]) {
      for (const auto& [kind, losses] : model["others"].items()) {
        TrainerOptions options = options_for(all, kind);
        options.isa = isa;
        if (kind == "mup") options.mup_base = std::llround(all["mup"].get<double>() * kGoldenWidth);
        options.type = type;
        const auto trainer = trainer_of(all, model, options, team);
        EXPECT_LT(worst_loss(*trainer, all, losses, all["rates"][kind].get<double>()), within)
            << isa << " " << model["family"] << " " << kind;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 12 * std::ssize(sets));
}

TEST(Optimizer, LearnsAsPyTorchDoes) {
  expect_losses(base::DType::kF32, exact_sets(), 1e-4);
}

TEST(Optimizer, InBf16StaysNear) {
  expect_losses(base::DType::kBF16, {kernels::available_sets(kernels::detect_features())[0]}, 0.06);
}

std::vector<float> weights_after(const std::string& kind, base::DType type, int workers) {
  const base::Json all = golden();
  base::Team team(workers);
  TrainerOptions options = options_for(all, kind);
  options.type = type;
  const auto trainer = trainer_of(all, all["models"][0], options, team);
  for (int step = 0; step < 4; ++step) EXPECT_TRUE(trainer->step(batches_of(all, step), 1e-2).ok());
  return {trainer->params().masters().begin(), trainer->params().masters().end()};
}

TEST(Optimizer, HasTheSameBitsForAnyNumberOfWorkers) {
  for (const std::string& kind : kKinds) {
    for (const base::DType type : {base::DType::kF32, base::DType::kBF16}) {
      const std::vector<float> alone = weights_after(kind, type, 1);
      for (const int workers : {2, 3})
        EXPECT_EQ(weights_after(kind, type, workers), alone) << kind << workers;
    }
  }
}

TEST(Optimizer, GoesOnWithTheSameBits) {
  for (const std::string& kind : kKinds) {
    const std::string folder = test_folder() + "/" + kind;
    const auto run = [&](const std::string& name, const std::vector<std::int64_t>& stops) {
      spec::TrainConfig config = small_run(folder + "/" + name);
      config.stages.pop_back();
      config.stages[0].optimizer.kind = kind;
      config.samples.interval = -1;
      return losses_of(config, stops);
    };
    EXPECT_EQ(run("whole", {}), run("stopped", {4, 9})) << kind;
    EXPECT_EQ(base::read_file(folder + "/whole/out/model.safetensors").value(),
              base::read_file(folder + "/stopped/out/model.safetensors").value())
        << kind;
  }
}

TEST(Optimizer, KeepsWhatItsRuleSays) {
  spec::TrainModel shape;
  shape.layers = 2;
  shape.width = 64;
  const auto config = config_of(shape, 500, 128).value();
  base::Team team(1);
  std::map<std::string, double> share;  // of the weights
  for (const std::string& kind : kKinds) {
    TrainerOptions options;
    options.rows = 128;
    options.optimizer.kind = kind;
    const StepMemory memory = trace_step(config, options, 1).value();
    const auto trainer = Trainer::make(config, options, team).value();
    EXPECT_EQ(memory.moments, trainer->optimizer().bytes()) << kind;
    share[kind] = static_cast<double>(memory.moments) / static_cast<double>(memory.masters);
  }
  EXPECT_EQ(share["adamw"], 2);
  EXPECT_EQ(share["rmsprop"], 2);
  EXPECT_LT(share["adafactor"], 0.05);
  EXPECT_GT(share["muon"], 1);  // the embedding has two moments
  EXPECT_LT(share["muon"], 1.4);
}

TEST(Optimizer, MupNarrowsTheSpreadOfMatrices) {
  spec::TrainModel shape;
  shape.layers = 1;
  shape.width = 64;
  base::Team team(1);
  TrainerOptions options;
  for (const std::int64_t base : {16, 256}) {
    options.mup_base = base;
    const auto trainer = Trainer::make(config_of(shape, 300, 32).value(), options, team).value();
    const auto spread = [&](const std::string& name) {
      for (const model::Param& param : trainer->params().store().params())
        if (param.name == name) return param.spread;
      return 0.0;
    };
    EXPECT_DOUBLE_EQ(spread("model.layers.0.mlp.up_proj.weight"), base == 16 ? 0.01 : 0.02);
    EXPECT_DOUBLE_EQ(spread("model.embed_tokens.weight"), 0.02);
  }
}

TEST(Optimizer, IsRefusedByAnotherName) {
  TrainerOptions options;
  options.optimizer.kind = "sgd";
  base::Team team(1);
  spec::TrainModel shape;
  shape.layers = 1;
  shape.width = 32;
  const auto made = Trainer::make(config_of(shape, 64, 32).value(), options, team);
  EXPECT_THAT(made.error().text(), testing::HasSubstr("there is no optimizer \"sgd\""));
}

}  // namespace
}  // namespace tw::train
