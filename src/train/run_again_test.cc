// Runs that go on from where they were, whatever they began with, and what a run in a folder leaves alone.
#include <gmock/gmock.h>

#include "base/mmap.h"
#include "spec/train_recipe.h"
#include "train/run_prepare.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kFamilies = std::string(TW_SOURCE_DIR) + "/tests/golden/families/";

/// One stage that starts from a model; with its tokenizer.
spec::TrainConfig started_run(const std::string& folder, const std::string& start) {
  spec::TrainConfig config = small_run(folder);
  config.stages.pop_back();
  config.model = {};
  config.tokenizer = {};
  config.stages[0].start = start;
  return config;
}

spec::TrainConfig run_of(const std::string& kind, const std::string& folder) {
  if (kind == "gpt2") {
    spec::TrainConfig config = small_run(folder);
    config.model.family = "gpt2";
    config.stages[1].rope_theta = 0;
    return config;
  }
  if (kind == "dropout") {
    spec::TrainConfig config = small_run(folder);
    for (spec::TrainStage& stage : config.stages) stage.dropout = 0.2;
    config.stages[1].recompute = "block";
    return config;
  }
  if (kind == "mixture") {
    spec::TrainConfig config = small_run(folder);
    config.model.family = "qwen2_moe";
    config.model.experts = 4;
    config.stages[0].expert_capacity = 1;
    config.stages[1].recompute = "block";
    return config;
  }
  if (kind == "gpt2_started") return started_run(folder, kFamilies + "gpt2");
  spec::TrainConfig config =
      started_run(folder, kFamilies + (kind == "adapter" ? "qwen2" : "mistral-Q8_0.gguf"));
  config.adapter.rank = 4;
  if (kind == "adapter") config.adapter.dropout = 0.2;
  return config;
}

class RunAgain : public testing::TestWithParam<const char*> {};

TEST_P(RunAgain, HasTheSameBitsHoweverOftenItStops) {
  const std::string folder = test_folder(), kind = GetParam();
  const auto whole = losses_of(run_of(kind, folder + "/whole"), {});
  const std::int64_t second = kind == "dropout" ? 15 : 7;  // there are two stages
  const auto stopped = losses_of(run_of(kind, folder + "/stopped"), {3, second});
  EXPECT_EQ(whole, stopped);
  const std::string written =
      kind.starts_with("adapter") ? "/out/adapter_model.safetensors" : "/out/model.safetensors";
  const std::string bytes = base::read_file(folder + "/whole" + written).value();
  EXPECT_EQ(bytes, base::read_file(folder + "/stopped" + written).value());
  base::Team team(1);
  Watcher watcher;
  const auto finished = train_run(run_of(kind, folder + "/whole"), team, {}, watcher);
  EXPECT_TRUE(finished.ok()) << finished.error().text();
  EXPECT_TRUE(watcher.losses.empty());
  EXPECT_EQ(bytes, base::read_file(folder + "/whole" + written).value());
}

INSTANTIATE_TEST_SUITE_P(Kinds, RunAgain,
                         testing::Values("gpt2", "dropout", "gpt2_started", "mixture", "adapter",
                                         "adapter_of_sentencepiece"),
                         [](const auto& info) { return std::string(info.param); });

TEST(RunFolders, WhatARunReadsIsNotOverwritten) {
  const std::string folder = test_folder();
  const spec::TrainConfig made = small_run(folder);
  base::Team team(1);
  Watcher watcher;
  ASSERT_TRUE(train_run(made, team, {}, watcher).ok());
  const std::string model = base::read_file(made.out + "/model.safetensors").value();
  fs::create_directory_symlink(made.out, folder + "/link");
  RunOptions fresh;
  fresh.fresh = true;
  const auto refusal = [&](const spec::TrainConfig& config) {
    for (const RunOptions& options : {RunOptions(), fresh}) {
      const auto refused = train_run(config, team, options, watcher);
      EXPECT_FALSE(refused.ok());
      EXPECT_THAT(refused.error().text(), HasSubstr("choose another --out"));
    }
    EXPECT_TRUE(fs::exists(made.out + "/config.json"));
    EXPECT_TRUE(fs::exists(made.out + "/checkpoints"));
    EXPECT_EQ(base::read_file(made.out + "/model.safetensors").value(), model);
    return train_run(config, team, fresh, watcher).error().text();
  };
  for (const std::string& same : {made.out, made.out + "/", folder + "/link", folder + "/new/../out"}) {
    spec::TrainConfig config = started_run(folder, made.out);
    config.out = same;
    EXPECT_THAT(refusal(config), HasSubstr("the model to start from lies in the output folder"));
  }
  spec::TrainConfig config = made;
  config.stages[0].teacher.path = folder + "/link";
  EXPECT_THAT(refusal(config), HasSubstr("the teacher lies"));
  config = made;
  config.tokenizer = {"file", 0, made.out + "/tokenizer.json"};
  EXPECT_THAT(refusal(config), HasSubstr("the tokenizer lies"));
  config = made;
  write_text(made.out + "/data/a.txt", some_text(300));
  config.stages[1].data[0].path = made.out + "/data";
  EXPECT_THAT(refusal(config), HasSubstr("data lies"));
  config = started_run(folder, folder + "/nowhere");
  EXPECT_THAT(train_run(config, team, fresh, watcher).error().text(), HasSubstr("nowhere"));
  EXPECT_TRUE(fs::exists(made.out + "/config.json")) << "a start that is not there costs no earlier run";
  config = started_run(folder, made.out);
  config.out += "2";  // a neighbour whose name begins alike
  EXPECT_TRUE(train_run(config, team, {}, watcher).ok());
}

TEST(RunFolders, AKillWhileTheModelIsWrittenCostsNothing) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  Watcher watcher;
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  const std::string model = base::read_file(config.out + "/model.safetensors").value();
  RunOptions fresh;
  fresh.fresh = true;
  for (const RunOptions& options : {RunOptions(), fresh}) {
    fs::remove(config.out + "/config.json");
    for (const char* name : {"/config.json", "/tokenizer_config.json.partial", "/model.safetensors.partial"})
      write_text(config.out + "/model.new.partial" + name, "half");
    const auto report = train_run(config, team, options, watcher);
    EXPECT_TRUE(report.ok()) << report.error().text();
    EXPECT_EQ(base::read_file(config.out + "/model.safetensors").value(), model);
    EXPECT_FALSE(fs::exists(config.out + "/model.new.partial"));
  }
}

TEST(RunFolders, WhatAStartContradictsIsNamed) {
  const std::string folder = test_folder();
  base::Team team(1);
  Watcher watcher;
  const auto complaint = [&](const spec::TrainConfig& config) {
    const auto prepared = prepare_run(config, {}, team, watcher);
    return prepared.ok() ? "" : prepared.error().text();
  };
  spec::TrainConfig config = started_run(folder, kFamilies + "qwen2");
  EXPECT_EQ(complaint(config), "");
  config.model.family = "gpt2";
  EXPECT_THAT(complaint(config), HasSubstr("model.family is gpt2, but the model to start from"));
  config.model = {};
  config.model.rope_theta = 12345;
  EXPECT_THAT(complaint(config), HasSubstr("model.rope-theta is 12345, but the model to start from has"));
  config.stages[0].start = kFamilies + "gpt2";
  EXPECT_THAT(complaint(config), HasSubstr("no rotary positions"));
  // What is the default must be said to contradict.
  const auto says = [&](const char* start, const char* key) {
    spec::TrainConfig said = started_run(folder, kFamilies + start);
    EXPECT_EQ(complaint(said), "");
    said.model.given = {key};
    return complaint(said);
  };
  EXPECT_THAT(says("qwen2", "rope-theta"),
              HasSubstr("model.rope-theta is 10000, but the model to start from has 1000000"));
  EXPECT_EQ(says("llama3", "rope-theta"), "") << "its base is 10000";
  EXPECT_THAT(says("gpt2", "rope-theta"), HasSubstr("no rotary positions"));
  EXPECT_THAT(says("gpt2", "family"), HasSubstr("model.family is llama, but the model to start from is of"));
  EXPECT_EQ(says("qwen2", "family"), "") << "its layers are llama's";
  EXPECT_THAT(says("llama3", "tied"),
              HasSubstr("model.tied is true, but the model to start from has an output head of its own"));
  EXPECT_EQ(says("qwen2", "tied"), "");
  config = started_run(folder, kFamilies + "qwen2");
  config.model.tied = false;
  EXPECT_THAT(complaint(config), HasSubstr("model.tied is false"));
  config.model = {};
  config.model.name = "mine";
  EXPECT_EQ(prepare_run(config, {}, team, watcher)->model.name, "mine");
}

/// GPT-2's files have layers the other way round, and some of them fused.
TEST(RunFolders, AShapeIsToldAsTheFileHasIt) {
  const std::string folder = test_folder(), model = folder + "/model";
  fs::copy(kFamilies + "gpt2", model);
  base::Json config = base::parse_json(base::read_file(model + "/config.json").value()).value();
  config["n_inner"] = 100;
  write_text(model + "/config.json", config.dump());
  base::Team team(1);
  Watcher watcher;
  const auto report = train_run(started_run(folder, model), team, {}, watcher);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().text(), HasSubstr(model + ": '"));
  EXPECT_THAT(report.error().text(),
              HasSubstr("h.0.mlp.c_fc.weight' has the shape [64, 96], but the model wants [64, 100]"));
}

/// "filled" of run.json is a recipe itself, whatever it says of a model that it starts from.
TEST_P(RunAgain, WhatWasFilledInIsARecipe) {
  const std::string folder = test_folder(), kind = GetParam();
  spec::TrainConfig config = run_of(kind, folder);
  base::Team team(1);
  Watcher watcher;
  watcher.broken = true;
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  const auto run = base::parse_ordered_json(base::read_file(config.out + "/run.json").value()).value();
  const auto filled = spec::parse_recipe(base::dump_json(run["filled"]), "run.json");
  ASSERT_TRUE(filled.ok()) << filled.error().text();
  EXPECT_FALSE(filled->model.given.empty());
  const auto prepared = prepare_run(*filled, {}, team, watcher);
  EXPECT_TRUE(prepared.ok()) << prepared.error().text();
}

/// Whatever a run is of, another recipe in its folder is refused by the name of what differs.
TEST_P(RunAgain, ARecipeThatDiffersIsRefusedByName) {
  const std::string folder = test_folder(), kind = GetParam();
  const spec::TrainConfig config = run_of(kind, folder);
  base::Team team(1);
  Watcher watcher;
  watcher.broken = true;
  ASSERT_TRUE(train_run(config, team, {}, watcher).ok());
  const auto refusal = [&](auto&& change) {
    spec::TrainConfig other = config;
    change(other);
    const auto refused = train_run(other, team, {}, watcher);
    return refused.ok() ? "" : refused.error().text();
  };
  EXPECT_THAT(refusal([](auto& c) { c.seed = 4; }), HasSubstr(": \"seed\" was 3 and is 4;"));
  if (config.model.layers == 0) {  // a start has a shape of its own
    EXPECT_THAT(refusal([](auto& c) { c.stages[0].start = kFamilies + "llama3"; }),
                HasSubstr("stages[0].start was \""));
  }
  EXPECT_THAT(
      refusal([](auto& c) { c.model.mup_base = 16; }),
      HasSubstr(config.adapter.rank > 0 ? "an adapter has no width" : "model.mup-base was 0 and is 16"));
  if (config.adapter.rank > 0) {
    EXPECT_THAT(refusal([](auto& c) { c.adapter.rank = 2; }), HasSubstr("adapter.rank was 4 and is 2"));
    EXPECT_THAT(refusal([](auto& c) { c.adapter.targets = "q_proj"; }),
                HasSubstr("adapter.targets was \"all\" and is \"q_proj\""));
    EXPECT_THAT(refusal([](auto& c) { c.adapter = {}; }), HasSubstr("adapter.rank was 4 and is 0"));
  }
  if (kind == "gpt2") {
    EXPECT_THAT(refusal([](auto& c) { c.model.family = "llama"; }),
                HasSubstr("model.family was \"gpt2\" and is \"llama\""));
  }
}

}  // namespace
}  // namespace tw::train
