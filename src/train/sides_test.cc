// Steps in bf16 of layers as wide as tiles (multiples of 32): what lies between their products is rounded and
// kept as sides of the next ones where the kernels have such.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/mix64.h"
#include "train/trainer.h"

namespace tw::train {
namespace {

constexpr std::int64_t kVocab = 1056, kRows = 300;

spec::ModelConfig config() {
  spec::ModelConfig c;
  c.architecture = "llama";
  c.layers = 2, c.width = 64, c.heads = 4, c.kv_heads = 2, c.head_dim = 16;
  c.ffn_width = 96, c.vocab = kVocab, c.context = kRows;
  return c;
}

TrainerOptions options(base::DType type = base::DType::kBF16) {
  TrainerOptions o;
  o.type = type;
  o.rows = kRows;
  o.seed = 5;
  return o;
}

/// Documents of these lengths; what follows a token hangs on it.
TrainBatch batch_of(const std::vector<int>& lengths) {
  TrainBatch batch;
  std::uint64_t seed = 0;
  for (const int length : lengths) {
    std::vector<std::int32_t> ids = {static_cast<std::int32_t>(++seed * 37 % kVocab)};
    for (int t = 0; t < length; ++t)
      ids.push_back(static_cast<std::int32_t>((ids.back() * 5 + base::mix64(++seed) % 3) % kVocab));
    batch.add_document(ids);
  }
  return batch;
}

struct Learnt {
  std::vector<double> losses, norms;
  std::vector<float> weights;
  bool operator==(const Learnt&) const = default;
};

Learnt learn(const TrainerOptions& options, int workers = 2) {
  base::Team team(workers);
  const auto trainer = Trainer::make(config(), options, team).value();
  const std::vector<TrainBatch> batches = {batch_of({70, 33, 128}), batch_of({300}), batch_of({1, 17, 16})};
  Learnt learnt;
  for (int step = 0; step < 4; ++step) {
    const auto report = trainer->step(batches, 3e-3);
    learnt.losses.push_back(report->loss), learnt.norms.push_back(report->gradient_norm);
  }
  learnt.weights.assign(trainer->params().masters().begin(), trainer->params().masters().end());
  return learnt;
}

TEST(TrainerSides, LearnAsFp32Does) {
  const Learnt exact = learn(options(base::DType::kF32)), rounded = learn(options());
  EXPECT_LT(exact.losses.back(), exact.losses.front() - 0.1) << "there is something to learn";
  for (std::size_t step = 0; step < exact.losses.size(); ++step) {
    EXPECT_NEAR(rounded.losses[step], exact.losses[step], 0.01) << step;
    EXPECT_NEAR(rounded.norms[step], exact.norms[step], 0.02 * exact.norms[step]) << step;
  }
}

TEST(TrainerSides, HaveTheSameBitsForAnyNumberOfWorkers) {
  const Learnt alone = learn(options(), 1);
  EXPECT_EQ(learn(options(), 2), alone);
  EXPECT_EQ(learn(options(), 3), alone);
}

TEST(TrainerSides, RecomputingChangesNoBit) {
  for (const double share : {0.0, 0.25}) {
    TrainerOptions o = options();
    o.dropout = {.branches = share, .attention = share, .seed = 9};
    const Learnt plain = learn(o);
    o.recompute = true;
    EXPECT_EQ(learn(o), plain) << share;
  }
}

TEST(TrainerSides, RunAnyPackingInTheMemoryOfTheWorst) {
  base::Team team(2);
  const auto trainer = Trainer::make(config(), options(), team).value();
  for (const std::vector<int>& lengths : std::vector<std::vector<int>>{
           {300}, {1}, {17}, {1, 299}, {129, 1, 1, 33}, {64, 64, 65}, std::vector<int>(300, 1)}) {
    const TrainBatch batch = batch_of(lengths);
    const auto report = trainer->step(std::span(&batch, 1), 1e-4);
    ASSERT_TRUE(report.ok()) << report.error().text();
    EXPECT_NEAR(report->loss, std::log(kVocab), 0.7);
    EXPECT_FALSE(report->skipped);
  }
}

/// Without a tape nothing is rounded on the way, and the same bits must come of any number of workers:
/// products and what is done with them are not cut in the same way.
TEST(TrainerSides, EvaluateAndLearnGeluLayersTheSameByAnyNumberOfWorkers) {
  for (const char* family : {"llama", "gpt2"}) {
    spec::ModelConfig c = config();
    c.architecture = family;
    if (c.architecture == "gpt2") {
      c.learned_positions = c.qkv_bias = c.linear_bias = true;
      c.norm = spec::NormKind::kLayer;
      c.ffn = spec::FfnKind::kGelu;
      c.kv_heads = c.heads;
    }
    std::vector<double> wanted;
    for (const int workers : {1, 2, 2, 3}) {
      base::Team team(workers);
      TrainerOptions o = options();
      o.rows = 512;
      c.context = 512;
      const auto trainer = Trainer::make(c, o, team).value();
      const TrainBatch batch = batch_of({512});
      std::vector<double> losses;
      for (int step = 0; step < 5; ++step) {
        losses.push_back(trainer->step(std::span(&batch, 1), 1e-2)->loss);
        losses.push_back(trainer->evaluate(std::span(&batch, 1)).value());
      }
      if (wanted.empty()) wanted = losses;
      EXPECT_EQ(losses, wanted) << family << " by " << workers;
    }
  }
}

/// Rows of logits are made some at a time.
TEST(TrainerSides, ManyRowsAreThoseOfFewOnes) {
  base::Team team(2);
  TrainerOptions o = options();
  o.rows = 3 * 512;
  spec::ModelConfig c = config();
  c.context = 512;
  const auto many = Trainer::make(c, o, team).value(), few = Trainer::make(c, o, team).value();
  const TrainBatch all = batch_of({512, 512, 512});
  const double loss = many->accumulate(std::span(&all, 1))->loss;
  std::vector<TrainBatch> parts;
  for (int i = 0; i < 3; ++i) {
    TrainBatch& part = parts.emplace_back();
    std::vector<std::int32_t> ids(all.tokens.begin() + i * 512, all.tokens.begin() + (i + 1) * 512);
    ids.push_back(all.targets[i * 512 + 511]);
    part.add_document(ids);
  }
  EXPECT_NEAR(few->accumulate(parts)->loss, loss, 1e-6 * loss);
  double off = 0, size = 0;
  const auto wanted = many->params().gradients(), got = few->params().gradients();
  for (std::size_t i = 0; i < wanted.size(); ++i)
    off += std::pow(wanted[i] - got[i], 2), size += std::pow(wanted[i], 2);
  EXPECT_LT(std::sqrt(off / size), 0.01);
}

}  // namespace
}  // namespace tw::train
