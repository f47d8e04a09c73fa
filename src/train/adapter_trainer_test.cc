// LoRA and QLoRA against peft on PyTorch (tests/golden/lora, by tools/make_lora_golden.py): losses,
// gradients, and the adapter that is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "base/mmap.h"
#include "model/adapter_write.h"
#include "model/quantize.h"
#include "model/save.h"
#include "train/trainer.h"

namespace tw::train {
namespace {

const std::string kGolden = TW_SOURCE_DIR "/tests/golden/";

base::Json golden() {
  return base::parse_json(base::read_file(kGolden + "lora/golden.json").value()).value();
}

base::Json adapter_of(const base::Json& all, const std::string& name) {
  for (const base::Json& adapter : all["adapters"]) {
    if (adapter["name"] == name) return adapter;
  }
  TW_CHECK(false, "a golden adapter of this name");
  return {};
}

/// The documents of the script.
std::vector<TrainBatch> batches_of(const base::Json& all, std::int64_t vocab, int step) {
  std::vector<TrainBatch> batches(1);
  int i = 0;
  for (const auto& length : all["lengths"]) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < length.get<int>(); ++t)
      ids.push_back(static_cast<std::int32_t>((7 * t + 3 * i + step * t % 5) % vocab));
    batches[0].add_document(ids);
    ++i;
  }
  return batches;
}

TrainerOptions options_of(const base::Json& all, base::DType type) {
  TrainerOptions o;
  o.rows = 40;
  o.type = type;
  o.optimizer = {all["betas"][0].get<double>(), all["betas"][1].get<double>(), all["epsilon"].get<double>(),
                 all["decay"].get<double>()};
  o.clip = all["clip"].get<double>();
  return o;
}

std::shared_ptr<const model::LoadedModel> base_model(const std::string& path, const std::string& isa) {
  auto model = model::LoadedModel::load(kGolden + "families/" + path,
                                        {.isa = isa, .threads = 2, .packed = {}, .progress = {}});
  TW_CHECK(model.ok(), "the base model loads");
  return *model;
}

/// Beginning with the golden adapter.
std::unique_ptr<Trainer> trainer_of(const std::string& name, const std::string& base_path,
                                    const std::string& isa, const TrainerOptions& options, base::Team& team) {
  const std::string folder = kGolden + "lora/" + name;
  const auto base = base_model(base_path, isa);
  const auto start = model::Adapter::load(folder, *base).value();
  auto trainer = Trainer::make_adapter(base, start->config(), options, team);
  TW_CHECK(trainer.ok(), "the adapter can be learnt");
  const auto taken =
      (*trainer)->adapter()->take_over(*start, [&](std::size_t i) { return (*trainer)->params().master(i); });
  TW_CHECK(taken.ok(), "it has the same matrices");
  (*trainer)->refresh();
  return std::move(trainer).value();
}

/// Of parameter i's gradient, by the golden one.
double relative_error(const io::SafetensorsFile& wanted, const Trainer& trainer, model::Trainable& params,
                      std::size_t i) {
  const model::Param& param = params.store().params()[i];
  std::vector<float> got(params.gradient(i).begin(), params.gradient(i).end());
  if (const std::string weight = model::adapted_parameter(param.name, 'B'); !weight.empty())
    model::reorder_heads(trainer.transformer().config(), weight, got, true);
  const auto* numbers = reinterpret_cast<const float*>(wanted.find(param.name)->data);
  double off = 0, size = 0;
  for (std::size_t at = 0; at < got.size(); ++at) {
    off += std::pow(double{got[at]} - numbers[at], 2);
    size += std::pow(double{numbers[at]}, 2);
  }
  return std::sqrt(off / size);
}

struct Case {
  std::string adapter, base;
};
class AdapterTraining : public ::testing::TestWithParam<std::string> {};

TEST_P(AdapterTraining, IsPeftsInLossesAndGradients) {
  const base::Json all = golden();
  base::Team team(2);
  for (const Case& c : {Case{"llama3", "llama3"},
                        {"llama3", "llama3-F16.gguf"},
                        {"mistral-Q8_0", "mistral-Q8_0.gguf"},
                        {"qwen2-moe", "qwen2-moe"}}) {
    SCOPED_TRACE(c.adapter + " on " + c.base);
    const base::Json wanted = adapter_of(all, c.adapter);
    const auto trainer = trainer_of(c.adapter, c.base, GetParam(), options_of(all, base::DType::kF32), team);
    const auto gradients =
        io::SafetensorsFile::open(kGolden + "lora/" + c.adapter + "/gradients.safetensors").value();
    // Other sets multiply quantized weights with activations of 15 bits, and the amx set prompts in bf16.
    const bool bf16 = trainer->table().bf16_prompts();
    const bool quantized = c.base.find("-Q") != std::string::npos && GetParam() != "ref";
    const double loss_bound = bf16        ? 2e-2
                              : quantized ? 1e-3
                                          : 1e-4,
                 gradient_bound = bf16        ? 0.2
                                  : quantized ? 1e-2
                                              : 1e-3;
    int step = 0;
    for (const base::Json& loss : wanted["losses"]) {
      const auto batches = batches_of(all, wanted["vocab"].get<std::int64_t>(), step++);
      const auto report = trainer->step(batches, all["rate"].get<double>());
      ASSERT_TRUE(report.ok()) << report.error().text();
      EXPECT_NEAR(report->loss / loss.get<double>(), 1, loss_bound) << "step " << step;
      if (step > 1) continue;
      for (std::size_t i = 0; i < trainer->params().store().params().size(); ++i)
        EXPECT_LT(relative_error(gradients, *trainer, trainer->params(), i), gradient_bound)
            << trainer->params().store().params()[i].name;
    }
  }
}

TEST_P(AdapterTraining, InBf16ComesClose) {
  const base::Json all = golden(), wanted = adapter_of(all, "mistral-Q8_0");
  base::Team team(2);
  const auto trainer =
      trainer_of("mistral-Q8_0", "mistral-Q8_0.gguf", GetParam(), options_of(all, base::DType::kBF16), team);
  int step = 0;
  for (const base::Json& loss : wanted["losses"]) {
    const auto batches = batches_of(all, wanted["vocab"].get<std::int64_t>(), step++);
    EXPECT_NEAR(trainer->step(batches, all["rate"].get<double>())->loss / loss.get<double>(), 1, 2e-2);
  }
}

/// Palettes teach what their numbers in F16 do: forward and backward look them up.
TEST_P(AdapterTraining, LearnsBesidePalettes) {
  const base::Json all = golden();
  base::Team team(2);
  const std::string folder = testing::TempDir() + "adapter_palette_" + GetParam();
  const auto files = model::ModelFiles::open(kGolden + "families/qwen3").value();
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(model::save_palettized(folder, model::model_to_save(*files).value(), 3.5, {}).ok());
  const auto palettes = model::ModelFiles::open(folder).value();
  const std::string plain = folder + ".gguf";
  ASSERT_TRUE(model::save_gguf(plain, model::model_to_save(*palettes).value(), base::DType::kF16).ok());
  std::vector<std::vector<float>> gradients;
  std::vector<double> losses;
  for (const std::string& path : {folder, plain}) {
    const auto base =
        model::LoadedModel::load(path, {.isa = GetParam(), .threads = 2, .packed = {}, .progress = {}});
    ASSERT_TRUE(base.ok()) << base.error().text();
    model::AdapterConfig config;
    config.targets = {"q_proj", "o_proj", "up_proj", "down_proj"};
    auto trainer = Trainer::make_adapter(*base, config, options_of(all, base::DType::kF32), team).value();
    ASSERT_TRUE(trainer->step(batches_of(all, 280, 0), 1e-2).ok());
    losses.push_back(trainer->accumulate(batches_of(all, 280, 1)).value().loss);
    gradients.emplace_back(trainer->params().gradients().begin(), trainer->params().gradients().end());
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-5);
  double off = 0, size = 0;
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    off += std::pow(double{gradients[0][i]} - gradients[1][i], 2);
    size += std::pow(double{gradients[1][i]}, 2);
  }
  EXPECT_GT(size, 0);
  EXPECT_LT(std::sqrt(off / size), 1e-4);
  std::filesystem::remove_all(folder);
  std::filesystem::remove(plain);
}

INSTANTIATE_TEST_SUITE_P(Sets, AdapterTraining,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

TEST(AdapterTrainer, RecomputingChangesNoBit) {
  const base::Json all = golden(), wanted = adapter_of(all, "mistral-Q8_0");
  base::Team team(2);
  std::vector<std::vector<float>> results;
  for (const bool recompute : {false, true}) {
    TrainerOptions options = options_of(all, base::DType::kF32);
    options.recompute = recompute;
    const auto trainer = trainer_of("mistral-Q8_0", "mistral-Q8_0.gguf", "", options, team);
    for (int step = 0; step < 3; ++step) {
      const auto batches = batches_of(all, wanted["vocab"].get<std::int64_t>(), step);
      EXPECT_TRUE(trainer->step(batches, all["rate"].get<double>()).ok());
    }
    results.emplace_back(trainer->params().masters().begin(), trainer->params().masters().end());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(AdapterTrainer, WorkersDoNotChangeABit) {
  const base::Json all = golden();
  std::vector<std::vector<float>> results;
  for (const int workers : {1, 3}) {
    base::Team team(workers);
    const auto trainer =
        trainer_of("mistral-Q8_0", "mistral-Q8_0.gguf", "", options_of(all, base::DType::kBF16), team);
    for (int step = 0; step < 3; ++step) ASSERT_TRUE(trainer->step(batches_of(all, 300, step), 3e-3).ok());
    results.emplace_back(trainer->params().masters().begin(), trainer->params().masters().end());
  }
  EXPECT_EQ(results[0], results[1]);
}

/// Its masks are ours (tools/make_dropout_golden.py), where they are is peft's lora_dropout.
TEST(AdapterTrainer, DropoutIsPefts) {
  const base::Json all = golden(),
                   wanted = base::parse_json(base::read_file(kGolden + "train/dropout.json").value()).value();
  base::Team team(2);
  for (const std::string isa : {"ref", "avx2"}) {
    if (!kernels::make_table(isa, kernels::detect_features()).ok()) continue;
    TrainerOptions options = options_of(all, base::DType::kF32);
    options.dropout = {.adapters = wanted["share"].get<double>(),
                       .seed = wanted["seed"].get<std::uint64_t>()};
    const auto trainer = trainer_of("llama3", "llama3", isa, options, team);
    const base::Json& run = wanted["adapter"];
    for (int step = 0; step < std::ssize(run["losses"]); ++step) {
      const auto batches = batches_of(all, run["vocab"].get<std::int64_t>(), step);
      const auto report = trainer->step(batches, all["rate"].get<double>());
      const double loss = run["losses"][step].get<double>(), norm = run["gradient_norms"][step].get<double>();
      EXPECT_NEAR(report->loss, loss, 1e-4 * loss) << isa << ", step " << step;
      EXPECT_NEAR(report->gradient_norm, norm, 1e-3 * norm) << isa << ", step " << step;
    }
  }
}

/// Steps with dropout of what adapters read.
std::vector<float> learnt_with(double share, int workers, bool recompute, const std::string& base_path) {
  const base::Json all = golden();
  base::Team team(workers);
  TrainerOptions options = options_of(all, base::DType::kF32);
  options.recompute = recompute;
  options.dropout = {.adapters = share, .seed = 3};
  const bool quantized = base_path.ends_with(".gguf");
  const auto trainer = trainer_of(quantized ? "mistral-Q8_0" : "llama3", base_path, "", options, team);
  for (int step = 0; step < 3; ++step) {
    const auto report = trainer->step(batches_of(all, 250, step), 3e-3);
    TW_CHECK(report.ok() && !report->skipped, "a step");
  }
  return {trainer->params().masters().begin(), trainer->params().masters().end()};
}

TEST(AdapterTrainer, DropoutHasTheSameBitsInEveryWayAStepIsRun) {
  for (const std::string base : {"llama3", "mistral-Q8_0.gguf"}) {
    const auto alone = learnt_with(0.25, 1, false, base);
    EXPECT_EQ(learnt_with(0.25, 3, false, base), alone) << base;
    EXPECT_EQ(learnt_with(0.25, 2, true, base), alone) << base;
    EXPECT_NE(learnt_with(0, 1, false, base), alone) << "something was left out";
  }
}

TEST(AdapterTrainer, DropoutIsOfStepsAlone) {
  const base::Json all = golden();
  base::Team team(2);
  TrainerOptions options = options_of(all, base::DType::kF32);
  const auto without = trainer_of("llama3", "llama3", "", options, team);
  options.dropout = {.adapters = 0.25, .seed = 3};
  const auto with = trainer_of("llama3", "llama3", "", options, team);
  const auto batches = batches_of(all, 250, 0);
  EXPECT_EQ(with->evaluate(batches).value(), without->evaluate(batches).value());
  EXPECT_NE(with->accumulate(batches)->loss, without->accumulate(batches)->loss);
}

TEST(AdapterTrainer, BeginsWithTheBaseModelsLossAndLowersIt) {
  const base::Json all = golden();
  base::Team team(2);
  const auto base = base_model("qwen3", "ref");
  model::AdapterConfig config;
  config.rank = 8;
  config.alpha = 16;
  config.targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  auto trainer = Trainer::make_adapter(base, config, options_of(all, base::DType::kF32), team).value();
  const auto batches = batches_of(all, 280, 0);
  const double before = trainer->evaluate(batches).value();
  config.targets = {"v_proj"};
  auto other = Trainer::make_adapter(base, config, options_of(all, base::DType::kF32), team).value();
  EXPECT_EQ(other->evaluate(batches).value(), before) << "B is zero";
  for (int step = 0; step < 40; ++step) ASSERT_TRUE(trainer->step(batches, 1e-2).ok());
  EXPECT_LT(trainer->evaluate(batches).value(), 0.5 * before);
  config.targets = {"head"};
  EXPECT_FALSE(Trainer::make_adapter(base, config, options_of(all, base::DType::kF32), team).ok());
}

/// What was learnt is written, read, and gives the same loss; tools/check_lora_with_peft.py reads the folders
/// too.
TEST(AdapterTrainer, WritesWhatIsReadAgain) {
  const base::Json all = golden();
  base::Team team(2);
  for (const Case& c : {Case{"llama3", "llama3-F16.gguf"}, {"mistral-Q8_0", "mistral-Q8_0.gguf"}}) {
    const auto trainer = trainer_of(c.adapter, c.base, "ref", options_of(all, base::DType::kF32), team);
    const std::int64_t vocab = adapter_of(all, c.adapter)["vocab"].get<std::int64_t>();
    for (int step = 0; step < 3; ++step) ASSERT_TRUE(trainer->step(batches_of(all, vocab, step), 3e-3).ok());
    const double loss = trainer->evaluate(batches_of(all, vocab, 9)).value();
    const std::string folder = TW_BINARY_DIR "/written_adapters/" + c.adapter;
    const auto written = model::write_adapter(folder, *trainer->adapter(), trainer->transformer().config(),
                                              [&](std::size_t i) { return trainer->params().master(i); });
    ASSERT_TRUE(written.ok()) << written.error().text();
    std::ofstream(folder + "/loss.json") << base::Json{{"step", 9}, {"loss", loss}}.dump();

    const auto base = base_model(c.base, "ref");
    const auto read = model::Adapter::load(folder, *base);
    ASSERT_TRUE(read.ok()) << read.error().text();
    auto again =
        Trainer::make_adapter(base, (*read)->config(), options_of(all, base::DType::kF32), team).value();
    ASSERT_TRUE(
        again->adapter()->take_over(**read, [&](std::size_t i) { return again->params().master(i); }).ok());
    again->refresh();
    EXPECT_EQ(again->evaluate(batches_of(all, vocab, 9)).value(), loss);
  }
}

TEST(AdapterTrainer, SaysWhyAnAdapterCannotBeWritten) {
  const base::Json all = golden();
  base::Team team(1);
  const auto trainer =
      trainer_of("mistral-Q8_0", "mistral-Q8_0.gguf", "ref", options_of(all, base::DType::kF32), team);
  const auto written =
      model::write_adapter("/dev/null/x", *trainer->adapter(), trainer->transformer().config(),
                           [&](std::size_t i) { return trainer->params().master(i); });
  ASSERT_FALSE(written.ok());
  EXPECT_THAT(written.error().text(), testing::HasSubstr("/dev/null/x"));
}

}  // namespace
}  // namespace tw::train
