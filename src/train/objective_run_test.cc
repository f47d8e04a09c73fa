// Runs that learn from a teacher and from preferences.
#include <gmock/gmock.h>

#include <cmath>

#include "base/json.h"
#include "base/mmap.h"
#include "model/model_files.h"
#include "model/save.h"
#include "train/run_prepare.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

/// Of the last line of the log that has this key.
double last_of(const spec::TrainConfig& config, const std::string& key) {
  const std::string log = base::read_file(config.out + "/log.jsonl").value();
  double last = NAN;
  for (std::size_t at = 0; at < log.size(); at = log.find('\n', at) + 1) {
    const auto line = base::parse_json(log.substr(at, log.find('\n', at) - at)).value();
    if (line.contains(key)) last = line[key].get<double>();
  }
  return last;
}

/// A model with `more` spare rows in its table, whose logits are large or small, but never middling.
model::ModelToSave padded(const model::ModelFiles& files, std::int64_t more, std::vector<std::byte>& table) {
  model::ModelToSave model = model::model_to_save(files).value();
  for (io::TensorEntry& tensor : model.tensors) {
    if (tensor.shape[0] != model.config.vocab) continue;
    EXPECT_TRUE(table.empty()) << "head and table are one";
    table.assign(tensor.data, tensor.data + tensor.bytes);
    tensor.shape[0] += more;
    tensor.bytes = table.size() / model.config.vocab * tensor.shape[0];
    table.resize(tensor.bytes, std::byte{0x40});  // 3.0
    tensor.data = table.data();
  }
  model.config.vocab += more;
  return model;
}

/// Polite answers are preferred.
std::string some_pairs() {
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += R"({"prompt": "Dog )" + std::to_string(i) +
             R"(? ", "chosen": "Yes, please.", "rejected": "NO! )" + std::to_string(i % 7) + "\"}\n";
  return lines;
}

/// A stage on text, and one on preferences.
spec::TrainConfig preference_run(const std::string& folder) {
  spec::TrainConfig config = small_run(folder);
  write_text(folder + "/pairs/a.jsonl", some_pairs());
  config.stages[1] = config.stages[0];
  config.stages[1].data = {{folder + "/pairs", "preference", 1}};
  config.stages[1].schedule.peak = 0.003;
  return config;
}

TEST(ObjectiveRun, ASmallModelLearnsFromALargerOne) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  base::Team team(2);
  Watcher alone, taught;
  ASSERT_TRUE(train_run(config, team, {}, alone).ok());
  spec::TrainConfig student = config;
  student.out += "2";
  student.model.width = 16;
  student.tokenizer = {};
  student.stages[0].teacher = {config.out, 3, 0.5, 2};
  const auto report = train_run(student, team, {}, taught);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_LT(taught.losses.at(12), taught.losses.at(1));
  EXPECT_GT(last_of(student, "label_loss"), 0);
  EXPECT_NE(last_of(student, "label_loss"), last_of(student, "loss"));
  EXPECT_EQ(report->validation_loss, last_of(student, "validation_loss"));
  student.out += "3";
  student.tokenizer.kind = "characters";
  const auto refused = train_run(student, team, {}, taught);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text(), HasSubstr(config.out + ": the teacher has another tokenizer: token "));
}

TEST(ObjectiveRun, TeacherAndModelMayHaveOtherSpareRows) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  base::Team team(2);
  Watcher watcher;
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  const std::string plain = config.out, wide = folder + "/wide", file = folder + "/wide.gguf";
  const auto files = model::ModelFiles::open(plain).value();
  std::vector<std::byte> table;
  const model::ModelToSave model = padded(*files, 7, table);
  ASSERT_TRUE(model::save_folder(wide, model, base::DType::kF32).ok());
  ASSERT_TRUE(model::save_gguf(file, model, base::DType::kF32).ok());
  int runs = 0;
  for (const auto& [start, teacher] :
       {std::pair{plain, wide}, {wide, plain}, {plain, file}, {std::string("auto"), file}}) {
    spec::TrainConfig student = config;
    student.out += std::to_string(++runs);
    student.tokenizer = {"file", 0, plain};
    if (start != "auto") student.model = {};
    student.stages[0].start = start;
    student.stages[0].steps = 3;
    student.stages[0].minutes = 0;
    student.stages[0].teacher = {teacher, start == "auto" ? 264 : 257, 0.5, 1};
    const auto report = train_run(student, team, {}, watcher);
    EXPECT_TRUE(report.ok()) << start << ", " << teacher << ": " << report.error().text();
    PrepareOptions measuring;
    measuring.measure = true;
    const auto planned = prepare_run(student, measuring, team, watcher);
    EXPECT_TRUE(planned.ok()) << start << ", " << teacher << ": " << planned.error().text();
  }
}

TEST(ObjectiveRun, ATeacherThatDoesNotFitIsNamed) {
  const std::string folder = test_folder(), gpt2 = std::string(TW_SOURCE_DIR) + "/tests/golden/families/gpt2";
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.tokenizer = {};
  config.stages[0].teacher.path = gpt2;
  base::Team team(1);
  Watcher watcher;
  const auto complaint = [&] {
    const auto prepared = prepare_run(config, {}, team, watcher);
    return prepared.ok() ? "" : prepared.error().text();
  };
  EXPECT_EQ(complaint(), "");
  config.stages[0].sequence = config.stages[0].batch = config.stages[0].micro_batch = 512;
  EXPECT_THAT(complaint(), HasSubstr("sequences of 512 tokens, but its teacher has learned 256 positions"));
  config.stages[0].sequence = 32;
  config.stages[0].teacher.top = 100'000;
  EXPECT_THAT(complaint(), HasSubstr("teacher.top is 100000, but the vocabulary has 281 tokens"));
  config.stages[0].teacher = {};
  config.stages[0].batch = config.stages[0].micro_batch = 128;
  config.tokenizer = {"bpe", 300, ""};
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  config.stages[0].teacher.path = config.out;
  config.tokenizer = {"bytes", 0, ""};  // the first tokens of that
  EXPECT_THAT(complaint(), HasSubstr("it has 300 tokens and the model 257"));
}

TEST(ObjectiveRun, PreferencesBeginAtTheReferenceAndAreLearnt) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = preference_run(folder);
  base::Team team(2);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_NEAR(watcher.losses.at(13), std::log(2), 1e-6) << "no weight has moved yet";
  EXPECT_LT(watcher.losses.at(24), 0.5);
  EXPECT_GT(last_of(config, "reward_accuracy"), 0.9);
  EXPECT_GT(last_of(config, "validation_accuracy"), 0.9);
  EXPECT_NEAR(last_of(config, "reward_margin"),
              last_of(config, "reward_chosen") - last_of(config, "reward_rejected"), 1e-9);
  EXPECT_EQ(train_run(config, team, {}, watcher)->validation_loss, report->validation_loss)
      << "a finished run";
}

TEST(ObjectiveRun, PreferencesHaveTheSameBitsHoweverOftenTheyStop) {
  const std::string folder = test_folder();
  const auto whole = losses_of(preference_run(folder + "/whole"), {}),
             stopped = losses_of(preference_run(folder + "/stopped"), {12, 15, 20});
  EXPECT_EQ(whole, stopped);
}

TEST(ObjectiveRun, AnAdapterLearnsPreferencesAgainstItsBase) {
  const std::string folder = test_folder();
  spec::TrainConfig config = preference_run(folder);
  config.stages.erase(config.stages.begin());
  config.model = {};
  config.tokenizer = {};
  config.adapter.rank = 4;
  config.stages[0].start = std::string(TW_SOURCE_DIR) + "/tests/golden/families/qwen2";
  config.stages[0].steps = 20;
  config.stages[0].schedule.peak = 0.01;
  base::Team team(2);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_NEAR(watcher.losses.at(1), std::log(2), 1e-6);
  EXPECT_LT(watcher.losses.at(20), 0.6);
  EXPECT_FALSE(std::filesystem::exists(config.out + "/reference"));
}

/// A model, the same narrower, and what learns with that.
spec::TrainConfig pruning_run(const std::string& folder) {
  spec::TrainConfig config = small_run(folder);
  config.stages.push_back(config.stages[1]);
  config.stages[1].pruning = {40, 0.5, 1000};
  return config;
}

TEST(ObjectiveRun, AStageThatPrunesLeavesASmallerModelToTheNext) {
  const std::string folder = test_folder();
  spec::TrainConfig config = pruning_run(folder);
  base::Team team(2);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_EQ(report->step, 36);
  EXPECT_LT(watcher.losses.at(25), watcher.losses.at(1)) << "what was learnt is not lost";
  auto files = model::ModelFiles::open(config.out);
  ASSERT_TRUE(files.ok()) << files.error().text();
  EXPECT_EQ((*files)->config()->ffn_width, 40);
  EXPECT_EQ((*files)->get("model.layers.0.mlp.down_proj.weight").value()->shape,
            (std::vector<std::int64_t>{32, 40}));
  EXPECT_FALSE((*files)->get("model.layers.0.mlp.mask").ok());
  config = pruning_run(folder + "/last");
  config.stages.pop_back();
  Watcher last;
  const auto written = train_run(config, team, {}, last);
  ASSERT_TRUE(written.ok()) << written.error().text();
  EXPECT_NEAR(*written->validation_loss, last.validations.at(24), 0.1) << "masks were hard";
  files = model::ModelFiles::open(config.out);
  EXPECT_EQ((*files)->config()->ffn_width, 40);
  config = pruning_run(folder + "/wide");
  config.stages[1].pruning.ffn_width = 96;
  EXPECT_THAT(train_run(config, team, {}, last).error().text(),
              HasSubstr("to a width of 96, but they have 96"));
  config.stages[1].pruning.ffn_width = 40;
  config.model.family = "gpt2";
  config.stages[1].rope_theta = config.stages[2].rope_theta = 0;
  RunOptions fresh;
  fresh.fresh = true;
  EXPECT_THAT(train_run(config, team, fresh, last).error().text(),
              HasSubstr("which gated feed-forward layers"));
}

TEST(ObjectiveRun, PruningHasTheSameBitsHoweverOftenItStops) {
  const std::string folder = test_folder();
  const auto whole = losses_of(pruning_run(folder + "/whole"), {}),
             stopped = losses_of(pruning_run(folder + "/stopped"), {12, 14, 21, 24, 30});
  EXPECT_EQ(whole, stopped);
}

TEST(ObjectiveRun, BadPreferencesAreNamedByFileAndLine) {
  const std::string folder = test_folder();
  spec::TrainConfig config = preference_run(folder);
  base::Team team(1);
  Watcher watcher;
  write_text(folder + "/pairs/b.jsonl", some_pairs() + R"({"prompt": "a", "chosen": "b"})" + "\n");
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(),
              HasSubstr("b.jsonl:41: has no \"rejected\""));
  config = preference_run(folder + "/more");
  config.stages[1].micro_batch = 40;
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(), HasSubstr("must have room for two"));
}

}  // namespace
}  // namespace tw::train
