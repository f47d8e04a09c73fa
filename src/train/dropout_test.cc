// Training with dropout: the same bits in every way a step can be run, and none of it where nothing is
// learnt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "train/test_golden.h"
#include "train/test_sets.h"
#include "train/trainer.h"

namespace tw::train {
namespace {

constexpr std::size_t kLlama = 0, kGpt2 = 3, kExperts = 4;

/// Of everything that dropout is of, but adapters.
TrainerOptions dropping(const base::Json& all, double share = 0.25) {
  TrainerOptions options = options_of(all);
  options.dropout = {.branches = share, .attention = share, .seed = 9};
  return options;
}

/// Its masks are ours (tools/make_dropout_golden.py), where they are is GPT-2's own: without attn_pdrop or
/// with.
void check_against_pytorch(const std::string& run, bool of_attention) {
  const base::Json all = golden(),
                   wanted = base::parse_json(base::read_file(kGoldenFolder + "dropout.json").value()).value();
  base::Team team(2);
  for (const std::string& isa : exact_sets()) {
    TrainerOptions options = options_of(all);
    options.isa = isa;
    options.dropout = {.branches = wanted["share"].get<double>(),
                       .attention = of_attention ? wanted["of_attention"].get<double>() : 0,
                       .seed = wanted["seed"].get<std::uint64_t>()};
    const auto trainer = trainer_of(all, all["models"][kGpt2], options, team);
    for (int step = 0; step < std::ssize(wanted[run]["losses"]); ++step) {
      const auto report = trainer->step(batches_of(all, step), all["rate"].get<double>());
      const double loss = wanted[run]["losses"][step].get<double>(),
                   norm = wanted[run]["gradient_norms"][step].get<double>();
      EXPECT_NEAR(report->loss, loss, 1e-4 * loss) << isa << ", step " << step;
      EXPECT_NEAR(report->gradient_norm, norm, 1e-3 * norm) << isa << ", step " << step;
    }
  }
}

TEST(TrainerDropout, LearnsAsPyTorchDoes) {
  check_against_pytorch("gpt2", false);
}

TEST(TrainerDropout, OfAttentionLearnsAsPyTorchDoes) {
  check_against_pytorch("gpt2_attention", true);
}

struct Learnt {
  std::vector<double> losses;
  std::vector<float> weights;
  bool operator==(const Learnt&) const = default;
};

/// By some steps of two batches each.
Learnt learn(const base::Json& all, std::size_t model, const TrainerOptions& options, int workers) {
  base::Team team(workers);
  const auto trainer = trainer_of(all, all["models"][model], options, team);
  Learnt learnt;
  for (int step = 0; step < 4; ++step)
    learnt.losses.push_back(trainer->step(batches_of(all, step, true), 3e-3)->loss);
  learnt.weights.assign(trainer->params().masters().begin(), trainer->params().masters().end());
  return learnt;
}

TEST(TrainerDropout, HasTheSameBitsForAnyNumberOfWorkers) {
  const base::Json all = golden();
  for (const std::size_t model : {kLlama, kGpt2, kExperts}) {
    const Learnt alone = learn(all, model, dropping(all), 1);
    EXPECT_EQ(learn(all, model, dropping(all), 2), alone) << model;
    EXPECT_EQ(learn(all, model, dropping(all), 3), alone) << model;
    EXPECT_NE(learn(all, model, options_of(all), 1).losses[0], alone.losses[0]) << "something was left out";
  }
}

TEST(TrainerDropout, RecomputingChangesNoBit) {
  const base::Json all = golden();
  for (const std::size_t model : {kLlama, kGpt2}) {
    for (const base::DType type : {base::DType::kF32, base::DType::kBF16}) {
      TrainerOptions options = dropping(all);
      options.type = type;
      const Learnt plain = learn(all, model, options, 2);
      options.recompute = true;
      EXPECT_EQ(learn(all, model, options, 2), plain) << model;
    }
  }
}

/// A row of a step has its masks, whichever batch it is in.
TEST(TrainerDropout, CutsOfAStepDoNotMatter) {
  const base::Json all = golden();
  base::Team team(2);
  for (const std::size_t model : {kLlama, kGpt2, kExperts}) {
    const auto trainer = trainer_of(all, all["models"][model], dropping(all), team);
    const double whole = trainer->accumulate(batches_of(all, 0))->loss;
    const std::vector<float> gradients(trainer->params().gradients().begin(),
                                       trainer->params().gradients().end());
    auto apart = batches_of(all, 0, true);
    EXPECT_NEAR(trainer->accumulate(apart)->loss, whole, 1e-9 * whole);
    // Of experts the load is balanced within a batch.
    for (std::size_t i = 0; i < gradients.size() && model != kExperts; ++i)
      ASSERT_NEAR(trainer->params().gradients()[i], gradients[i], 1e-5) << i;
    std::reverse(apart.begin(), apart.end());
    EXPECT_GT(std::abs(trainer->accumulate(apart)->loss - whole), 1e-4) << "other rows have other masks";
  }
}

/// Each share is of its own places.
TEST(TrainerDropout, OfAttentionAloneIsAnother) {
  const base::Json all = golden();
  base::Team team(1);
  std::vector<double> losses;
  for (const auto& [branches, attention] : {std::pair{0.0, 0.0}, {0.25, 0.0}, {0.0, 0.25}, {0.25, 0.25}}) {
    TrainerOptions options = options_of(all);
    options.dropout = {.branches = branches, .attention = attention, .seed = 9};
    losses.push_back(
        trainer_of(all, all["models"][kLlama], options, team)->accumulate(batches_of(all, 0))->loss);
  }
  std::sort(losses.begin(), losses.end());
  EXPECT_EQ(std::unique(losses.begin(), losses.end()), losses.end());
}

TEST(TrainerDropout, MasksAreTheSteps) {
  const base::Json all = golden();
  base::Team team(1);
  const auto trainer = trainer_of(all, all["models"][kLlama], dropping(all), team);
  const auto loss_at = [&](std::int64_t step) {
    trainer->set_steps_done(step);
    return trainer->accumulate(batches_of(all, 0))->loss;
  };
  const double first = loss_at(0), second = loss_at(1);
  EXPECT_NE(first, second);
  EXPECT_EQ(loss_at(0), first) << "as after a resume";
  TrainerOptions options = dropping(all);
  options.dropout.seed = 10;
  const auto other = trainer_of(all, all["models"][kLlama], options, team);
  EXPECT_NE(other->accumulate(batches_of(all, 0))->loss, first);
}

TEST(TrainerDropout, EvaluationLeavesNothingOut) {
  const base::Json all = golden();
  base::Team team(2);
  for (const std::size_t model : {kLlama, kGpt2, kExperts}) {
    const auto with = trainer_of(all, all["models"][model], dropping(all), team),
               without = trainer_of(all, all["models"][model], options_of(all), team);
    const auto batches = batches_of(all, 2);
    EXPECT_EQ(with->evaluate(batches).value(), without->evaluate(batches).value());
    EXPECT_NE(with->accumulate(batches)->loss, without->accumulate(batches)->loss);
  }
}

TEST(TrainerDropout, NoShareChangesNoBitAndTakesNoMemory) {
  const base::Json all = golden();
  for (const std::size_t model : {kLlama, kGpt2, kExperts})
    EXPECT_EQ(learn(all, model, dropping(all, 0), 2), learn(all, model, options_of(all), 2));
  base::Team team(1);
  const auto bytes = [&](const TrainerOptions& options) {
    return trainer_of(all, all["models"][kLlama], options, team)->activation_bytes();
  };
  EXPECT_EQ(bytes(dropping(all, 0)), bytes(options_of(all)));
}

TEST(TrainerDropout, LearnsByHeartAllTheSame) {
  const base::Json all = golden();
  base::Team team(2);
  const auto trainer = trainer_of(all, all["models"][kLlama], dropping(all, 0.1), team);
  const auto batches = batches_of(all, 0);
  const double before = trainer->evaluate(batches).value();
  double told = 0;
  for (int step = 0; step < 150; ++step) {
    const double loss = trainer->step(batches, 1e-2)->loss;
    if (step >= 140) told += loss / 10;
  }
  const double after = trainer->evaluate(batches).value();
  EXPECT_LT(after, before / 10);
  EXPECT_LT(after, told / 2) << "what is told of a step is with numbers left out";
}

}  // namespace
}  // namespace tw::train
