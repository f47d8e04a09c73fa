// Recipes as people write them, and as they break them.
#include "spec/train_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mmap.h"
#include "spec/train_recipe.h"

namespace tw::spec {
namespace {

using testing::HasSubstr;

std::string complaint(const std::string& text) {
  const auto config = parse_recipe(text, "r.json");
  if (!config.ok()) return config.error().text();
  const auto status = config->validate();
  return status.ok() ? "" : status.error().text();
}

TEST(TrainRecipe, ReadsWhatItWrites) {
  const auto config =
      parse_recipe(R"({"out": "here", "seed": 7, "model": {"layers": 2, "width": 64, "tied": false},
    "stages": [{"name": "core", "data": [{"path": "a", "weight": 0.5}, {"path": "b", "kind": "chat"}], "steps": 10,
                "schedule": {"kind": "wsd", "peak": 1e-3}}, {"data": [{"path": "c"}], "minutes": 0.5}]})",
                   "r.json");
  ASSERT_TRUE(config.ok()) << config.error().text();
  EXPECT_TRUE(config->validate().ok());
  EXPECT_EQ(config->out, "here");
  EXPECT_EQ(config->model.layers, 2);
  EXPECT_FALSE(config->model.tied);
  ASSERT_EQ(config->stages.size(), 2U);
  EXPECT_EQ(config->stages[0].data[1].kind, "chat");
  EXPECT_EQ(config->stages[0].schedule.kind, "wsd");
  EXPECT_EQ(config->stages[1].minutes, 0.5);
  EXPECT_EQ(config->stages[1].optimizer.beta2, 0.95);
  const std::string written = recipe_json(*config).dump(2);
  const auto again = parse_recipe(written, "w.json");
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(recipe_json(*again).dump(2), written);
}

TEST(TrainRecipe, NobodyCanSayWhatMeansNotGiven) {
  for (const char* more :
       {R"("attention-dropout": -1)", R"("schedule": {"warmup": -1})", R"("optimizer": {"decay": -1})"}) {
    const std::string text = std::string(R"({"stages": [{"data": [{"path": "a"}], )") + more + "}]}";
    EXPECT_THAT(complaint(text), HasSubstr("is -1, but must be 0 to ")) << more;
    const auto of_run = parse_recipe(text, "run.json", RecipeSource::kRun);
    ASSERT_TRUE(of_run.ok()) << of_run.error().text();
    EXPECT_THAT(recipe_json(*of_run).dump(), testing::Not(HasSubstr("-1"))) << "it is left out, " << more;
  }
  TrainConfig config;
  config.stages.resize(1);
  for (const TrainField& field : train_fields(config, 0)) {
    if (field.flag != "attention-dropout") continue;
    EXPECT_TRUE(field.not_given());
    EXPECT_EQ(check_field(field).error().message, "--attention-dropout is -1, but must be 0 to 0.999999");
  }
}

TEST(TrainRecipe, NamesTheLineOfWhatIsWrong) {
  EXPECT_EQ(complaint("{\n\"seeed\": 1}"), "r.json:2: there is no \"seeed\"; the nearest is \"seed\"");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"data\": []},\n{\n \"schedule\": {\"kind\": \"cosin\"}}]}"),
            "r.json:4: \"kind\" is \"cosin\", but must be one of: cosine, linear, wsd, constant");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"optimizer\":\n {\"bta1\": 0.9}}]}"),
            "r.json:3: there is no \"bta1\" in stages[0].optimizer; the nearest is \"beta1\"");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"optimizer\":\n {\"kind\": \"moun\"}}]}"),
            "r.json:3: \"kind\" is \"moun\", but must be one of: adamw, muon, adafactor, rmsprop");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"optimizer\":\n {\"kind\": 7}}]}"),
            "r.json:3: \"kind\" is a number, but must be text");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"optimizer\":\n {\"momentum\": 1}}]}"),
            "r.json:3: \"momentum\" is 1, but must be 0 to 0.999999");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"dropout\": 1}]}"),
            "r.json:2: \"dropout\" is 1, but must be 0 to 0.999999");
  EXPECT_EQ(complaint("{\"model\":\n{\"layers\": \"two\"}}"),
            "r.json:2: \"layers\" is text, but must be a whole number");
  EXPECT_EQ(complaint("{\"stages\": [\n{\"recompute\": \"all\"}]}"),
            "r.json:2: \"recompute\" is \"all\", but must be one of: none, block");
  EXPECT_EQ(complaint("{\"model\":\n{\"layers\": 2.5}}"),
            "r.json:2: \"layers\" is a number with a fraction, but must be a whole number");
  EXPECT_EQ(complaint("{\"validation\": {\"share\":\n\n0.95}}"),
            "r.json:1: \"share\" is 0.95, but must be 0 to 0.9");
  EXPECT_EQ(complaint("{\"stages\": {}}"), "r.json:1: \"stages\" is an object, but must be a list");
  EXPECT_EQ(complaint("{\"stages\": [\n3]}"), "r.json:2: \"stages[0]\" is a number, but must be an object");
  EXPECT_EQ(complaint("[]"), "r.json:1: the recipe is a list, but must be an object");
  EXPECT_EQ(complaint("{\"seed\": 1,\n\"seed\": 2}"), "r.json:2: \"seed\" is given twice");
  EXPECT_THAT(complaint("{\n\"seed\": 1,,}"), HasSubstr("r.json:2: not valid JSON"));
  EXPECT_THAT(complaint("{\"seed\": 18446744073709551615}"), HasSubstr("0 to 4294967295"));
  EXPECT_THAT(complaint("{\"stages\": [{\"steps\": -1}]}"), HasSubstr("\"steps\" is -1"));
  EXPECT_THAT(complaint(""), HasSubstr("r.json:1: "));
  EXPECT_EQ(complaint(std::string("{\n}\0]]", 6)), "r.json:2: not valid JSON at byte 3: a zero byte");
  EXPECT_THAT(complaint(std::string(100, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(complaint("{\"" + std::string(10000, 'x') + "\": 1}"), testing::SizeIs(testing::Lt(300)));
}

TEST(TrainRecipe, ChecksDropout) {
  const auto with = [](const std::string& adapter, const std::string& stage) {
    return complaint("{\"adapter\": {" + adapter + R"(}, "stages": [{"start": "m", "data": [{"path": "a"}])" +
                     stage + "}]}");
  };
  for (const char* key : {R"("alpha": 4)", R"("dropout": 0.1)", R"("targets": "q_proj")"})
    EXPECT_THAT(with(key, ""), HasSubstr("give adapter.rank"));
  EXPECT_EQ(with(R"("rank": 4, "dropout": 0.1)", ""), "");
  EXPECT_THAT(with(R"("rank": 4, "dropout": 1)", ""), HasSubstr("\"dropout\" is 1"));
  EXPECT_THAT(with("", R"(, "attention-dropout": -0.5)"),
              HasSubstr("\"attention-dropout\" is -0.5, but must be 0 to 0.999999"));
  EXPECT_EQ(with("", R"(, "dropout": 0.1, "attention-dropout": 0)"), "");
}

TEST(TrainRecipe, ChecksFieldsAgainstEachOther) {
  const auto stage = [](const std::string& more) {
    return complaint("{\"stages\": [{\"name\": \"core\", \"data\": [{\"path\": \"a\"}]" + more + "}]}");
  };
  EXPECT_EQ(stage(""), "");
  EXPECT_THAT(complaint("{}"), HasSubstr("no data"));
  EXPECT_THAT(complaint("{\"stages\": [{}]}"), HasSubstr("stage 1 has no data"));
  EXPECT_THAT(complaint("{\"stages\": [{\"data\": [{}]}]}"), HasSubstr("\"path\""));
  EXPECT_EQ(stage(", \"steps\": 1, \"tokens\": 8, \"minutes\": 2"), "");
  EXPECT_THAT(stage(", \"sequence\": 64, \"batch\": 32"), HasSubstr("make \"batch\" larger"));
  EXPECT_THAT(stage("}, {\"data\": [{\"path\": \"a\"}], \"start\": \"other\""),
              HasSubstr("stage 2 starts from \"other\", but only the first stage"));
  EXPECT_EQ(stage("}, {\"data\": [{\"path\": \"a\"}], \"start\": \"previous\""), "");
  const std::string pairs = R"({"data": [{"path": "p", "kind": "preference"}])";
  EXPECT_EQ(stage("}, " + pairs), "");
  EXPECT_THAT(complaint("{\"stages\": [" + pairs + "}]}"), HasSubstr("stage 1 learns preferences"));
  EXPECT_THAT(stage("}, " + pairs + R"(, "pruning": {"ffn-width": 64})"), HasSubstr("make two stages"));
  EXPECT_THAT(stage("}, " + pairs + R"(, "teacher": {"path": "t"})"), HasSubstr("no teacher knows"));
  EXPECT_THAT(
      complaint(
          R"({"stages": [{"start": "m", "data": [{"path": "a"}, {"path": "p", "kind": "preference"}]}]})"),
      HasSubstr("make two stages"));
  EXPECT_THAT(complaint(R"({"adapter": {"rank": 4}, "model": {"mup-base": 64},
                            "stages": [{"start": "m", "data": [{"path": "a"}]}]})"),
              HasSubstr("an adapter has no width"));
  EXPECT_THAT(complaint(R"({"model": {"mup-base": -1}})"), HasSubstr("must be 0 to 65536"));
  EXPECT_THAT(complaint(R"({"adapter": {"rank": 4},
                            "stages": [{"start": "m", "expert-capacity": 1, "data": [{"path": "a"}]}]})"),
              HasSubstr("leaves the model's experts as they are"));
  EXPECT_THAT(stage(R"(, "optimizer": {"decay": -0.5})"),
              HasSubstr("\"decay\" is -0.5, but must be 0 to 10"));
  EXPECT_THAT(stage(R"(, "teacher": {"wight": 1})"), HasSubstr("the nearest is \"weight\""));
  EXPECT_THAT(complaint("{\"model\": {\"layers\": 2}, \"stages\": [{\"data\": [{\"path\": \"a\"}]}]}"),
              HasSubstr("model.width"));
  const auto gpt2 = [](const std::string& more) {
    return complaint(R"({"model": {"family": "gpt2", "layers": 1, "width": 32)" + more +
                     R"(}, "stages": [{"data": [{"path": "a"}]}]})");
  };
  EXPECT_EQ(gpt2(""), "");
  EXPECT_THAT(gpt2(R"(, "kv-heads": 1)"), HasSubstr("each of the heads has its own keys"));
  EXPECT_THAT(gpt2(R"(, "heads": 2, "kv-heads": 1)"), HasSubstr("each of the 2 heads has its own keys"));
  for (const char* theta : {"50000", "10000"})
    EXPECT_THAT(gpt2(std::string(R"(, "rope-theta": )") + theta), HasSubstr("gpt2 has no rotary positions"));
  EXPECT_THAT(stage(R"(, "teacher": {"top": 5})"), HasSubstr("give it teacher.path"));
  EXPECT_EQ(
      stage(R"(, "teacher": {"top": 5, "path": "t"}}, {"data": [{"path": "a"}], "teacher": {"top": 5})"), "")
      << "a flag is given to every stage";
  const auto model = [](const std::string& keys) {
    return complaint("{\"model\": {" + keys + "}, \"stages\": [{\"data\": [{\"path\": \"a\"}]}]}");
  };
  EXPECT_THAT(model(R"("experts": 8)"), HasSubstr("want a family that has experts"));
  EXPECT_EQ(model(R"("family": "qwen3_moe")"), "");
  EXPECT_THAT(
      complaint("{\"tokenizer\": {\"kind\": \"file\"}, \"stages\": [{\"data\": [{\"path\": \"a\"}]}]}"),
      HasSubstr("tokenizer.path"));
}

TEST(TrainRecipe, AModelToStartFromIsWhatItIs) {
  for (const char* key :
       {"layers", "width", "heads", "kv-heads", "ffn-width", "experts", "experts-per-token"})
    EXPECT_THAT(
        complaint(std::string("{\"model\": {\"") + key +
                  R"(": 8}, "stages": [{"start": "m", "data": [{"path": "a"}]}]})"),
        HasSubstr(std::string("model.") + key + " is given, but the model to start from has a shape"));
  EXPECT_THAT(complaint(R"({"adapter": {"rank": 4}, "model": {"name": "mine"},
                            "stages": [{"start": "m", "data": [{"path": "a"}]}]})"),
              HasSubstr("model.name is of a model that is written"));
}

TEST(TrainRecipe, HasAFlagForEveryValue) {
  TrainConfig config;
  config.stages.resize(1);
  std::vector<std::string> flags;
  for (const TrainField& field : train_fields(config, 0)) {
    EXPECT_FALSE(field.help.empty()) << field.key;
    EXPECT_TRUE(field.not_given() || check_field(field).ok())
        << field.key << ": a default must keep its own rule";
    EXPECT_THAT(flags, testing::Not(testing::Contains(field.flag))) << "two fields want this flag";
    flags.push_back(field.flag);
  }
  EXPECT_THAT(flags,
              testing::IsSupersetOf({"out", "minutes", "schedule-peak", "model-layers", "tokenizer-kind"}));
}

TEST(TrainRecipe, TableIsThatOfTheGuide) {
  const std::string guide = base::read_file(TW_SOURCE_DIR "/docs/training.md").value();
  EXPECT_THAT(guide, HasSubstr(recipe_table())) << "docs/training.md wants this table:\n" << recipe_table();
}

}  // namespace
}  // namespace tw::spec
