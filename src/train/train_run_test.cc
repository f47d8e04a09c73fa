// Whole runs on a page of text: what they leave, that stopping changes nothing, and how they break.
#include <gmock/gmock.h>

#include "base/cpu.h"
#include "base/mmap.h"
#include "model/model_files.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"
#include "train/run_log.h"
#include "train/run_prepare.h"
#include "train/test_disk.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(TrainRun, LeavesAModelThatOthersRead) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(2);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_TRUE(report->finished);
  EXPECT_EQ(report->step, 24);
  EXPECT_LT(watcher.losses[24], watcher.losses[1] - 0.5);
  EXPECT_EQ(watcher.last_validation.second, *report->validation_loss);
  EXPECT_THAT(watcher.samples, testing::SizeIs(testing::Ge(8)));
  const auto files = model::ModelFiles::open(config.out);
  ASSERT_TRUE(files.ok()) << files.error().text();
  EXPECT_EQ((*files)->config()->rope_theta, 50000);
  EXPECT_EQ((*files)->config()->layers, 1);
  EXPECT_EQ((*files)->tokenizer()->tokens.size(), 257U);
  EXPECT_TRUE((*files)->chat_template()->empty());
  EXPECT_FALSE(fs::exists(config.out + "/model.new"));
  const std::string log = base::read_file(config.out + "/log.jsonl").value();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 24 + static_cast<int>(watcher.samples.size()) + 24 + 1)
      << "steps, samples, validations (each step is a twentieth of its stage or more) and the last one";
}

TEST(TrainRun, LearnsAnAdapterBesideAModel) {
  const std::string folder = test_folder(),
                    base = std::string(TW_SOURCE_DIR) + "/tests/golden/families/qwen2";
  spec::TrainConfig config = small_run(folder);
  config.model = {};
  config.tokenizer = {};
  config.adapter.rank = 4;
  config.adapter.targets = "q_proj,down_proj";
  config.adapter.dropout = 0.05;
  config.stages.resize(1);
  config.stages[0].start = base;
  config.stages[0].schedule.peak = 0.01;
  base::Team team(2);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_LT(watcher.losses[12], watcher.losses[1] - 0.2);
  const auto model = model::LoadedModel::load(base, {.isa = {}, .threads = 1, .progress = {}});
  const auto adapter = model::Adapter::load(config.out, **model);
  ASSERT_TRUE(adapter.ok()) << adapter.error().text();
  EXPECT_EQ((*adapter)->config().rank, 4);
  EXPECT_EQ((*adapter)->config().alpha, 8);
  EXPECT_EQ((*adapter)->params().params().size(), 2U * 2 * (*model)->config().layers);
  const base::Json written =
      base::parse_json(base::read_file(config.out + "/adapter_config.json").value()).value();
  EXPECT_EQ(written["lora_dropout"].get<double>(), 0.05);
  EXPECT_FALSE(fs::exists(config.out + "/config.json")) << "an adapter is no model";
  config.stages[0].start = "auto";
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(), testing::HasSubstr("\"start\""));
}

TEST(TrainRun, HasTheSameBitsHoweverOftenItStops) {
  const std::string folder = test_folder();
  const auto whole = losses_of(small_run(folder + "/whole"), {});
  const auto stopped = losses_of(small_run(folder + "/stopped"), {3, 10, 12, 19});
  EXPECT_EQ(whole, stopped);
  EXPECT_EQ(base::read_file(folder + "/whole/out/model.safetensors").value(),
            base::read_file(folder + "/stopped/out/model.safetensors").value());
}

TEST(TrainRun, TakesTheLastGoodCheckpointAndSaysSo) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(2);
  Watcher first;
  first.break_at = 11;
  ASSERT_TRUE(train_run(config, team, {}, first).ok());
  const std::string damaged = config.out + "/checkpoints/step-00000011/weights.safetensors";
  std::string bytes = base::read_file(damaged).value();
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_text(damaged, bytes);
  Watcher second;
  ASSERT_TRUE(train_run(config, team, {}, second).ok());
  EXPECT_THAT(second.notes, HasSubstr("step-00000011/weights.safetensors: does not match its checksum"));
  EXPECT_THAT(second.notes, HasSubstr("goes on from step 10"));
  EXPECT_EQ(second.losses.at(11), first.losses.at(11));
}

TEST(TrainRun, RefusesARunOfAnotherRecipe) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  base::Team team(1);
  Watcher watcher;
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  config.stages[0].schedule.peak = 0.5;
  const auto refused = train_run(config, team, {}, watcher);
  EXPECT_THAT(refused.error().text(), HasSubstr("stages[0].schedule.peak was 0.0 and is 0.5"));
  EXPECT_THAT(refused.error().text(), HasSubstr("--fresh"));
  RunOptions fresh;
  fresh.fresh = true;
  EXPECT_TRUE(train_run(config, team, fresh, watcher).ok());
  config.checkpoints.keep_last = 7;  // changes no weight
  EXPECT_TRUE(train_run(config, team, {}, watcher).ok());
}

TEST(TrainRun, GoesBackWhenNumbersExplodeAndGivesUpInTheEnd) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.stages[0].steps = 60;
  config.stages[0].optimizer.spike = 1e-9;  // after the 20 steps that say what is usual, every step is one
  config.skip_limit = 4;
  config.validation.interval = 1000;  // which would save a checkpoint, too
  base::Team team(1);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().text(), HasSubstr("lower schedule.peak"));
  EXPECT_THAT(watcher.notes, HasSubstr("went back from step 24 to the checkpoint of step 20"));
  EXPECT_EQ(watcher.skipped, 16);
}

TEST(TrainRun, AFullDiskCostsACheckpointAndNotTheLastGoodOne) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  Watcher first;
  first.break_at = 5;
  ASSERT_TRUE(train_run(config, team, {}, first).ok());
  Watcher full;
  full.break_at = 8;
  const auto report = [&] {
    const FullDisk disk(16 << 10);  // smaller than weights.safetensors
    return train_run(config, team, {}, full);
  }();
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().text(), HasSubstr("step-00000008"));
  EXPECT_THAT(report.error().text(), HasSubstr("File too large"));
  Watcher last;
  ASSERT_TRUE(train_run(config, team, {}, last).ok());
  EXPECT_THAT(last.notes, HasSubstr("goes on from step 5"));
  EXPECT_EQ(last.losses.at(6), full.losses.at(6));
}

TEST(TrainRun, WritesTheBestWeightsOfTheStage) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.stages[0].steps = 40;
  config.stages[0].schedule.kind = "constant";
  config.stages[0].schedule.peak = 0.3;  // which it does not survive
  config.stages[0].schedule.warmup = 20;
  config.validation.interval = 4;
  base::Team team(1);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_LT(report->model_step, 40);
  EXPECT_LT(*report->validation_loss, watcher.validations.at(40));
}

/// A stage's best is of that stage's data: one that begins after a stop, too, must not be held against it.
TEST(TrainRun, AStageThatBeginsAfterAStopHasABestOfItsOwn) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  std::string noise;
  for (std::uint32_t i = 1, x = 1; i < 12000; ++i) {
    x = x * 1664525U + 1013904223U;
    noise += i % 40 == 0 ? '\n' : static_cast<char>(' ' + (x >> 24) % 90);
  }
  write_text(folder + "/noise/a.txt", noise);
  config.stages[0].steps = 40;
  config.stages[1].data[0].path = folder + "/noise";  // no loss of it is as small as those of the text
  config.checkpoints.steps = 100;
  config.checkpoints.keep_last = 1;
  config.validation.interval = 4;
  base::Team team(1);
  Watcher first, second;
  first.break_at = 40;
  ASSERT_TRUE(train_run(config, team, {}, first).ok());
  const auto report = train_run(config, team, {}, second);
  ASSERT_TRUE(report.ok()) << report.error().text();
  ASSERT_GT(second.validations.at(52), first.validations.at(40));
  EXPECT_GT(report->model_step, 40);
  const auto best = std::min_element(second.validations.begin(), second.validations.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_EQ(report->model_step, best->first);
}

TEST(TrainRun, ABestThatIsSavedTwiceStaysTheBest) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.checkpoints.steps = config.validation.interval = 4;
  base::Team team(1);
  Watcher watcher, again;
  watcher.break_at = 4;
  again.broken = true;
  for (Watcher* each :
       {&watcher, &again}) {  // the periodic save, and those of the stops, are of this step too
    ASSERT_TRUE(train_run(config, team, {}, *each).ok());
    const auto best = Checkpoint::open(config.out + "/checkpoints/step-00000004");
    ASSERT_TRUE(best.ok()) << best.error().text();
    EXPECT_EQ(best->validation_loss(), watcher.validations.at(4));
  }
}

TEST(TrainRun, StartsOverOnlyWhereThereIsNothingToGoOnFrom) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  Watcher first, second;
  first.break_at = 1;
  ASSERT_TRUE(train_run(config, team, {}, first).ok());
  write_text(config.out + "/checkpoints/step-00000001/state.json", "{}");
  const auto refused = train_run(config, team, {}, second);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text(), HasSubstr("--fresh"));
  EXPECT_THAT(second.notes, HasSubstr("step-00000001/state.json"));
  fs::remove_all(config.out + "/checkpoints");
  EXPECT_TRUE(train_run(config, team, {}, second).ok());
}

TEST(TrainRun, APathThatCannotBeReadIsOneLine) {
  const auto asked = RunFolder(std::string(5000, 'a')).asked();
  ASSERT_FALSE(asked.ok());
  EXPECT_THAT(asked.error().text(), HasSubstr("File name too long"));
}

TEST(TrainRun, TellsOnceThatItsLogCannotBeWritten) {
  const std::string folder = test_folder();
  Watcher watcher;
  auto log = RunLog::open(folder, 0, watcher);
  ASSERT_TRUE(log.ok()) << log.error().text();
  {
    const FullDisk disk(1);
    for (int step = 1; step <= 3; ++step) log->add({{"step", step}, {"loss", 1.5}});
  }
  EXPECT_THAT(watcher.notes, HasSubstr("log.jsonl: cannot be written: File too large"));
  EXPECT_EQ(std::count(watcher.notes.begin(), watcher.notes.end(), '\n'), 1);
}

/// Of conversations with prompts longer than a step, whole steps have nothing to learn from.
TEST(TrainRun, PassesOverStepsWithoutATokenToLearn) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += R"({"messages": [{"role": "user", "content": ")" + std::string(i % 4 == 0 ? 5 : 600, 'x') +
             std::to_string(i) + R"("}, {"role": "assistant", "content": "ho"}]})" + "\n";
  write_text(folder + "/chat/a.jsonl", lines);
  config.stages[0].data = {{folder + "/chat", "chat", 1}};
  config.stages[0].sequence = config.stages[0].batch = config.stages[0].micro_batch = 64;
  config.tokenizer = {"bpe", 300, ""};
  config.validation.share = 0;
  base::Team team(1);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_EQ(report->step, 12);
}

/// Of so many thin layers a token's activations take some 4 MB, and their inputs alone a quarter of one.
TEST(TrainRun, AdvisesToRecomputeWhereThatIsEnough) {
  base::Team team(1);
  Watcher watcher;
  spec::TrainConfig config = small_run(test_folder());
  config.stages.resize(1);
  config.model.layers = 1000;
  config.model.width = 64;
  config.stages[0].batch = config.stages[0].micro_batch =
      static_cast<std::int64_t>(base::detect_machine().memory_available >> 20);
  const auto plain = prepare_run(config, {}, team, watcher);
  ASSERT_FALSE(plain.ok());
  EXPECT_THAT(plain.error().text(), HasSubstr("with \"recompute\" block it would fit"));
  config.stages[0].recompute = "block";
  const auto again = prepare_run(config, {}, team, watcher);
  EXPECT_TRUE(again.ok()) << again.error().text();
}

TEST(TrainRun, NamesWhatDoesNotFit) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher watcher;
  spec::TrainConfig config = small_run(folder);
  config.stages[0].data[0].path = folder + "/nowhere";
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(),
              HasSubstr("nowhere: there is no such folder"));
  EXPECT_FALSE(fs::exists(config.out)) << "a mistake must not leave a folder";
  config = small_run(folder);
  config.stages[0].data[0].kind = "chat";
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(), HasSubstr("a.txt: is no .jsonl file"));
  config = small_run(folder);
  config.model.layers = 400;
  config.model.width = 32768;
  const auto large = prepare_run(config, {}, team, watcher);
  ASSERT_FALSE(large.ok());
  EXPECT_THAT(large.error().text(),
              testing::AllOf(HasSubstr("GiB are free here"), HasSubstr("layers of width")));
  write_text(folder + "/model/config.json", "{}");
  config = small_run(folder);
  config.out = folder + "/model";
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(), HasSubstr("choose another --out"));
}

TEST(TrainRun, DeletesNothingThatNoRunLeft) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher watcher;
  spec::TrainConfig config = small_run(folder);
  RunOptions fresh;
  fresh.fresh = true;
  for (const char* name : {"checkpoints/mine", "tokenizer/mine", "tensorboard/mine", "log.jsonl"}) {
    config.out = test_folder() + "/own";
    write_text(folder + "/text/a.txt", some_text(300));
    write_text(config.out + "/" + name, "precious");
    for (const RunOptions& options : {RunOptions(), fresh}) {
      const auto refused = train_run(config, team, options, watcher);
      ASSERT_FALSE(refused.ok());
      EXPECT_THAT(refused.error().text(),
                  testing::AllOf(HasSubstr(config.out + ": holds "), HasSubstr("choose another --out")));
    }
    EXPECT_EQ(base::read_file(config.out + "/" + name).value(), "precious");
    EXPECT_FALSE(fs::exists(config.out + "/run.json"));
  }
}

TEST(TrainRun, ARunThatEndedWhileItPreparedCanBegin) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher watcher;
  spec::TrainConfig config = small_run(folder);
  const auto none = RunFolder(config.out).open(config, false);  // which the tokenizer would follow
  ASSERT_TRUE(none.ok() && !*none);
  write_text(config.out + "/tokenizer/half", "");
  config.seed = 4;
  EXPECT_TRUE(train_run(config, team, {}, watcher).ok());
  EXPECT_FALSE(fs::exists(config.out + "/tokenizer/half"));
}

TEST(TrainRun, LearnsConversationsAndSavesTheirTemplate) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += R"({"messages": [{"role": "user", "content": "hi )" + std::to_string(i) +
             R"("}, {"role": "assistant", "content": "ho"}]})" + "\n";
  write_text(folder + "/chat/a.jsonl", lines);
  config.stages[0].data = {{folder + "/chat", "chat", 1}};
  config.stages[0].sequence = config.stages[0].micro_batch = 128;
  config.tokenizer = {"bpe", 300, ""};
  base::Team team(1);
  Watcher watcher;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  const auto files = model::ModelFiles::open(config.out);
  ASSERT_TRUE(files.ok()) << files.error().text();
  EXPECT_THAT(*(*files)->chat_template(), HasSubstr("<|im_start|>"));
  write_text(folder + "/chat/b.jsonl", "{\"messages\": [\n");
  config.out += "2";
  EXPECT_THAT(train_run(config, team, {}, watcher).error().text(), HasSubstr("b.jsonl:1: "));
}

TEST(TrainRun, GoesOnFromAModelInAFolder) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.precision = "fp32";
  base::Team team(1);
  Watcher first, second;
  const auto before = train_run(config, team, {}, first);
  ASSERT_TRUE(before.ok()) << before.error().text();
  spec::TrainConfig more = config;
  more.out += "2";
  more.model = {};
  more.tokenizer = {};
  more.stages[0].start = config.out;
  const auto after = train_run(more, team, {}, second);
  ASSERT_TRUE(after.ok()) << after.error().text();
  EXPECT_LT(second.losses.at(1), first.losses.at(12) + 0.3);
  EXPECT_LT(*after->validation_loss, *before->validation_loss);
  more.out += "3";
  more.tokenizer = {"bpe", 300, ""};
  const auto wrong = train_run(more, team, {}, second);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text(),
              HasSubstr("the tokenizer does not fit: it has 300 tokens and the model 257"));
}

/// The time that a step takes hangs on the experts that a token takes, its memory on all of them.
TEST(TrainRun, SizesMixturesByWhatATokenMeetsAndByAllThatIsThere) {
  spec::TrainModel shape;
  shape.family = "mixtral";
  shape.layers = 3;
  shape.width = 96;
  const auto config = [&](std::int64_t experts) {
    shape.experts = experts;
    return config_of(shape, 257, 64).value();
  };
  const std::int64_t expert = 3 * 96 * 256, attention = 4 * 96 * 96;
  const double met = 3.0 * static_cast<double>(attention + 2 * expert + 8 * 96 + 2 * 96) + 96;
  EXPECT_EQ(tokens_wanted(config(8)), 20 * met);
  EXPECT_EQ(tokens_wanted(config(16)), 20 * (met + 3 * 8 * 96)) << "only routers are larger";

  base::Team team(2);
  TrainerOptions options;
  options.isa = "avx2";
  options.rows = 64;
  SizeGoal goal{.seconds = 1e9, .tokens = 1'000'000'000, .vocab = 257, .context = 64};
  goal.model.family = "mixtral";
  goal.memory = trace_step(config(8), options, 2)->all();
  const auto width_with = [&](std::int64_t experts) {
    goal.model.experts = experts;
    return choose_shape(goal, options, team, {}).value().width;
  };
  EXPECT_EQ(width_with(8), 96) << "that very shape";
  EXPECT_EQ(width_with(9), 64);
  EXPECT_GT(width_with(2), 96);
  goal.model.experts = 16;
  goal.most_parameters = std::size_t{1} << 40;
  EXPECT_EQ(fitting_rung(goal, options, 2)->width, 64);
}

TEST(TrainRun, SizesAMixtureByItself) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.stages.resize(1);
  config.model = {};
  config.model.family = "qwen2_moe";
  config.model.experts = 4;
  base::Team team(2);
  Watcher watcher;
  const auto run = prepare_run(config, {}, team, watcher);
  ASSERT_TRUE(run.ok()) << run.error().text();
  EXPECT_EQ(run->model.layers, 2) << "the text is short";
  EXPECT_EQ(run->model.experts.count, 4);
  EXPECT_EQ(run->model.experts.chosen, 2);
  EXPECT_EQ(run->model.experts.shared_width, 2 * run->model.experts.width);
}

/// The numbers that a run is refused or allowed by are those that the trainer allocates.
TEST(TrainRun, TracesTheMemoryThatTheTrainerTakes) {
  spec::TrainModel shape;
  shape.layers = 2;
  shape.width = 64;
  base::Team team(2);
  for (const base::DType type : {base::DType::kF32, base::DType::kBF16}) {
    const auto config = config_of(shape, 500, 128).value();
    TrainerOptions options;
    options.rows = 512;
    options.isa = "avx2";
    options.type = type;
    const StepMemory memory = trace_step(config, options, 2).value();
    EXPECT_EQ(memory.multiplied, memory_of(*Trainer::make(config, options, team).value()).multiplied);
    const auto trainer = Trainer::make(config, options, team).value();
    EXPECT_EQ(memory.masters, trainer->params().masters().size_bytes());
    EXPECT_EQ(memory.moments, trainer->optimizer().bytes());
    EXPECT_EQ(memory.moments, 2 * memory.masters);
    EXPECT_NEAR(static_cast<double>(memory.activations), static_cast<double>(trainer->activation_bytes()),
                1 << 17);
    EXPECT_GT(memory.flops, 2.0 * 3 * 512 * static_cast<double>(config.parameter_count() - 500 * 64));
  }
}

}  // namespace
}  // namespace tw::train
