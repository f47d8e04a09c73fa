// Whole steps against PyTorch's (tests/golden/train, by tools/make_train_golden.py), and what a trainer
// promises.
#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/json.h"
#include "base/mmap.h"
#include "train/test_sets.h"

namespace tw::train {
namespace {

const std::string kFolder = TW_SOURCE_DIR "/tests/golden/train/";

base::Json golden() {
  return base::parse_json(base::read_file(kFolder + "golden.json").value()).value();
}

spec::ModelConfig config_of(const base::Json& all, const base::Json& model) {
  const base::Json& sizes = all["sizes"];
  spec::ModelConfig c;
  c.architecture = model["family"].get<std::string>();
  c.layers = sizes["num_hidden_layers"].get<std::int64_t>();
  c.width = sizes["hidden_size"].get<std::int64_t>();
  c.heads = sizes["num_attention_heads"].get<std::int64_t>();
  c.kv_heads = sizes["num_key_value_heads"].get<std::int64_t>();
  c.head_dim = model["head_dim"].get<std::int64_t>();
  c.ffn_width = sizes["intermediate_size"].get<std::int64_t>();
  c.vocab = sizes["vocab_size"].get<std::int64_t>();
  c.context = sizes["max_position_embeddings"].get<std::int64_t>();
  c.norm_epsilon = sizes["rms_norm_eps"].get<double>();
  c.rope_theta = model["rope_theta"].get<double>();
  c.qkv_bias = c.architecture == "qwen2";
  c.qk_norm = c.architecture == "qwen3";
  c.tied_embeddings = model["tied"].get<bool>();
  if (model.contains("experts")) {
    c.experts.count = model["experts"].get<std::int64_t>();
    c.experts.chosen = model["chosen"].get<std::int64_t>();
    c.experts.width = c.ffn_width;
  }
  if (c.architecture != "gpt2") return c;
  c.kv_heads = c.heads;
  c.norm = spec::NormKind::kLayer;
  c.ffn = spec::FfnKind::kGelu;
  c.learned_positions = c.qkv_bias = c.linear_bias = true;
  return c;
}

/// The documents of the script.
std::vector<TrainBatch> batches_of(const base::Json& all, int step, bool apart = false) {
  std::vector<TrainBatch> batches(1);
  int i = 0;
  for (const auto& length : all["lengths"]) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < length.get<int>(); ++t)
      ids.push_back((7 * t + 3 * i + step * t % 5) % all["sizes"]["vocab_size"].get<int>());
    if (apart && i > 0) batches.emplace_back();
    batches.back().add_document(ids);
    ++i;
  }
  return batches;
}

TrainerOptions options_of(const base::Json& all) {
  TrainerOptions o;
  o.rows = 40;
  o.optimizer = {all["betas"][0].get<double>(), all["betas"][1].get<double>(), all["epsilon"].get<double>(),
                 all["decay"].get<double>()};
  o.clip = all["clip"].get<double>();
  return o;
}

/// The numbers of all parameters: first weights, or with `second` gradients. By our order.
std::vector<std::vector<float>> stored(const base::Json& model, const model::ParamStore& store, bool second) {
  const std::string bytes = base::read_file(kFolder + model["family"].get<std::string>() + ".f32").value();
  std::vector<std::vector<float>> all(store.params().size());
  std::size_t at = second ? bytes.size() / 2 : 0;
  for (const base::Json& parameter : model["parameters"]) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (store.params()[i].name != parameter["name"].get<std::string>()) continue;
      TW_CHECK(store.params()[i].shape == parameter["shape"].get<std::vector<std::int64_t>>(),
               "the golden shape");
      all[i].resize(store.params()[i].elements());
      std::memcpy(all[i].data(), bytes.data() + at, all[i].size() * sizeof(float));
      at += all[i].size() * sizeof(float);
    }
  }
  TW_CHECK(at == bytes.size() / (second ? 1 : 2), "all parameters are known");
  return all;
}

std::unique_ptr<Trainer> trainer_of(const base::Json& all, const base::Json& model, TrainerOptions options,
                                    base::Team& team) {
  if (model.contains("balance")) options.objective.balance = model["balance"].get<double>();
  auto trainer = Trainer::make(config_of(all, model), options, team);
  TW_CHECK(trainer.ok(), "the test model can be trained");
  model::Trainable& params = (*trainer)->params();
  const auto weights = stored(model, params.store(), false);
  for (std::size_t i = 0; i < weights.size(); ++i)
    std::copy(weights[i].begin(), weights[i].end(), params.master(i).begin());
  (*trainer)->refresh();
  return std::move(trainer).value();
}

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

constexpr std::size_t kExperts = 4;  ///< the model that has some

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
  EXPECT_EQ(weights_after(3, all, true, kExperts), weights_after(1, all, true, kExperts));
}

TEST(Trainer, AccumulatesBatchesToOneStep) {
  const base::Json all = golden();
  EXPECT_LT(relative_error(weights_after(2, all, true), weights_after(2, all, false)), 1e-5);
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
    for (const std::size_t model : {std::size_t{2}, kExperts})
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
