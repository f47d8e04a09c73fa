// Distillation and preferences against PyTorch (tests/golden/objectives, by tools/make_objective_golden.py):
// losses, rewards, gradients.
#include "train/objective.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/json.h"
#include "base/mmap.h"
#include "io/safetensors.h"
#include "train/run_checkpoint.h"
#include "train/test_sets.h"
#include "train/trainer.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

const std::string kFolder = TW_SOURCE_DIR "/tests/golden/objectives/";

base::Json golden() {
  return base::parse_json(base::read_file(kFolder + "golden.json").value()).value();
}

std::shared_ptr<const model::LoadedModel> loaded(const std::string& name, const std::string& isa) {
  auto model =
      model::LoadedModel::load(kFolder + name, {.isa = isa, .threads = 1, .packed = {}, .progress = {}});
  EXPECT_TRUE(model.ok()) << model.error().text();
  return *model;
}

/// The script's documents; with pairs only the rows that predict an answer's tokens count.
TrainBatch batch_of(const base::Json& all, int step, bool pairs) {
  TrainBatch batch;
  int i = 0;
  for (const auto& length : all["lengths"]) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < length.get<int>(); ++t)
      ids.push_back((7 * t + 3 * i + step * t % 5) % all["vocab"].get<int>());
    const std::int64_t begin = batch.rows();
    batch.add_document(ids);
    if (pairs) std::fill_n(batch.weights.begin() + begin, all["prompt"].get<int>() - 1, 0.0F);
    ++i;
  }
  return batch;
}

/// The golden student, about to learn.
std::unique_ptr<Trainer> trainer_of(const base::Json& all, const ObjectiveOptions& objective,
                                    const std::string& isa, base::Team& team) {
  TrainerOptions options;
  options.isa = isa;
  options.rows = 60;
  options.optimizer = {all["betas"][0].get<double>(), all["betas"][1].get<double>(),
                       all["epsilon"].get<double>(), 0};
  options.clip = all["clip"].get<double>();
  options.objective = objective;
  const auto files = model::ModelFiles::open(kFolder + "student").value();
  auto trainer = Trainer::make(files->config().value(), options, team);
  EXPECT_TRUE(trainer.ok()) << trainer.error().text();
  EXPECT_TRUE(load_weights(*files, **trainer).ok());
  return *std::move(trainer);
}

void expect_gradients(Trainer& trainer, const std::string& name) {
  const auto wanted = io::SafetensorsFile::open(kFolder + name + ".safetensors").value();
  for (std::size_t i = 0; i < trainer.params().store().params().size(); ++i) {
    const std::string& param = trainer.params().store().params()[i].name;
    const auto* numbers = reinterpret_cast<const float*>(wanted.find(param)->data);
    double off = 0, size = 0;
    for (const float got : trainer.params().gradient(i)) {
      off += std::pow(double{got} - *numbers, 2);
      size += std::pow(double{*numbers++}, 2);
    }
    EXPECT_LT(std::sqrt(off / size), 1e-3) << param;
  }
}

class Objectives : public ::testing::TestWithParam<std::string> {};

TEST_P(Objectives, ATeacherIsLearntFromAsInPyTorch) {
  const base::Json all = golden();
  base::Team team(2);
  const auto teacher = loaded("teacher", GetParam());
  for (const base::Json& how : all["distillations"]) {
    SCOPED_TRACE(how["name"].get<std::string>());
    ObjectiveOptions objective;
    objective.distillation = {teacher, how["top"].get<std::int64_t>(), how["weight"].get<double>(),
                              how["temperature"].get<double>()};
    const auto trainer = trainer_of(all, objective, GetParam(), team);
    for (int step = 0; step < std::ssize(how["steps"]); ++step) {
      const TrainBatch batch = batch_of(all, step, false);
      const double label_loss = trainer->evaluate({&batch, 1}).value();
      const auto report = trainer->step({&batch, 1}, all["rate"].get<double>());
      ASSERT_TRUE(report.ok()) << report.error().text();
      const double loss = how["steps"][step]["loss"].get<double>();
      EXPECT_NEAR(report->loss, loss, 1e-4 * loss) << "step " << step;
      EXPECT_NEAR(report->measures.label_loss, label_loss, 1e-5 * label_loss) << "no teacher is asked";
      if (step == 0) expect_gradients(*trainer, how["name"].get<std::string>());
    }
  }
}

TEST_P(Objectives, PreferencesAreLearntAsInPyTorch) {
  const base::Json all = golden();
  base::Team team(2);
  for (const base::Json& how : all["preferences"]) {
    SCOPED_TRACE(how["name"].get<std::string>());
    ObjectiveOptions objective;
    objective.preference = {how["beta"].get<double>()};
    const auto trainer = trainer_of(all, objective, GetParam(), team);
    const TrainBatch first = batch_of(all, 0, true);
    EXPECT_THAT(trainer->step({&first, 1}, 0.1).error().text(), HasSubstr("held against a model"));
    ASSERT_TRUE(trainer->set_reference(loaded("student", GetParam())).ok());
    for (int step = 0; step < std::ssize(how["steps"]); ++step) {
      const TrainBatch batch = batch_of(all, step, true);
      const auto report = trainer->step({&batch, 1}, all["rate"].get<double>());
      ASSERT_TRUE(report.ok()) << report.error().text();
      const base::Json& wanted = how["steps"][step];
      EXPECT_NEAR(report->loss, wanted["loss"].get<double>(), 1e-4) << "step " << step;
      double chosen = 0, rejected = 0, right = 0;
      for (const base::Json& pair : wanted["rewards"]) {
        chosen += pair[0].get<double>() / 2;
        rejected += pair[1].get<double>() / 2;
        right += pair[0].get<double>() > pair[1].get<double>() ? 0.5 : 0;
      }
      EXPECT_NEAR(report->measures.chosen, chosen, 2e-3) << "step " << step;
      EXPECT_NEAR(report->measures.rejected, rejected, 2e-3) << "step " << step;
      if (step > 0) {
        EXPECT_EQ(report->measures.accuracy, right) << "step " << step;
      }
      if (step == 0) expect_gradients(*trainer, how["name"].get<std::string>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, Objectives, ::testing::ValuesIn(exact_sets()),
                         [](const auto& info) { return info.param; });

/// One batch of two pairs, or two of one pair each: the same mean. Beside an adapter the base is the
/// reference.
TEST(Objective, PairsOfAStepCountAlikeWhateverTheirBatches) {
  const base::Json all = golden();
  base::Team team(2);
  const TrainBatch both = batch_of(all, 1, true);
  std::vector<TrainBatch> apart(2);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int32_t begin = both.offsets[2 * i], end = both.offsets[2 * i + 2];
    apart[i].tokens.assign(both.tokens.begin() + begin, both.tokens.begin() + end);
    apart[i].targets.assign(both.targets.begin() + begin, both.targets.begin() + end);
    apart[i].weights.assign(both.weights.begin() + begin, both.weights.begin() + end);
    for (std::size_t d = 2 * i; d <= 2 * i + 2; ++d) apart[i].offsets.push_back(both.offsets[d] - begin);
  }
  model::AdapterConfig adapter;
  adapter.rank = 4;
  adapter.alpha = 8;
  adapter.targets = {"q_proj", "down_proj"};
  TrainerOptions options;
  options.rows = 60;
  options.objective.preference = {0.5};
  const auto base = loaded("student", "ref");
  auto trainer = Trainer::make_adapter(base, adapter, options, team).value();
  EXPECT_NEAR(trainer->evaluate({&both, 1}).value(), std::log(2.0), 1e-6) << "the adapter adds nothing yet";
  for (int step = 0; step < 20; ++step) ASSERT_TRUE(trainer->step({&both, 1}, 1e-2).ok());
  const Measures one = trainer->measure({&both, 1}).value(), two = trainer->measure(apart).value();
  EXPECT_LT(one.loss, 0.5 * std::log(2.0));
  EXPECT_EQ(one.accuracy, 1);
  EXPECT_NEAR(two.loss, one.loss, 1e-6);
  EXPECT_NEAR(two.margin(), one.margin(), 1e-5);
  apart[0].offsets.insert(apart[0].offsets.begin() + 1, 1);
  EXPECT_THAT(trainer->step(apart, 0.1).error().text(), HasSubstr("has 3 documents"));
}

TEST(Objective, NamesATeacherThatDoesNotFit) {
  const base::Json all = golden();
  base::Team team(1);
  TrainerOptions options;
  auto config = model::ModelFiles::open(kFolder + "student").value()->config().value();
  options.objective.distillation = {loaded("teacher", ""), 50, 0.9, 1};
  EXPECT_THAT(Trainer::make(config, options, team).error().text(), HasSubstr("teacher.top is 50"));
  config.vocab = 40;
  options.objective.distillation->top = 41;
  EXPECT_THAT(Trainer::make(config, options, team).error().text(),
              HasSubstr("teacher.top is 41, but the vocabulary has 40"));
}

/// Of a table's spare rows no token tells: a teacher may have more of them than the model, or fewer.
TEST(Objective, ATeacherMayHaveOtherSpareRows) {
  base::Team team(1);
  TrainerOptions options;
  options.rows = 16;
  auto config = model::ModelFiles::open(kFolder + "student").value()->config().value();
  TrainBatch batch;
  batch.add_document(std::vector<std::int32_t>{1, 5, 9, 39, 2, 7, 7});
  for (const std::int64_t vocab : {std::int64_t{40}, std::int64_t{60}}) {  // the teacher has 48
    config.vocab = vocab;
    options.objective.distillation = {loaded("teacher", ""), std::min<std::int64_t>(vocab, 48), 1, 1};
    const auto trainer = Trainer::make(config, options, team);
    ASSERT_TRUE(trainer.ok()) << trainer.error().text();
    const double first = (*trainer)->step({&batch, 1}, 1e-2)->loss;
    for (int step = 0; step < 10; ++step) ASSERT_TRUE((*trainer)->step({&batch, 1}, 1e-2).ok());
    EXPECT_LT((*trainer)->step({&batch, 1}, 1e-2)->loss, first) << vocab;
  }
}

}  // namespace
}  // namespace tw::train
