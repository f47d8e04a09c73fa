#include "spec/recipe_words.h"

#include <gtest/gtest.h>

namespace tw::spec {
namespace {

TEST(RecipeWords, AreFlagsWhereThereIsNoRecipe) {
  const GivenFlags given{.alone = true, .typed = {}, .data = "--chat"};
  const auto said = [&](const std::string& text) { return with_flags(text, given); };
  EXPECT_EQ(said("stages[0].schedule.peak was 0.0 and is 0.5"), "--schedule-peak was 0.0 and is 0.5");
  EXPECT_EQ(said("lower schedule.peak, or raise optimizer.spike."),
            "lower --schedule-peak, or raise --optimizer-spike.");
  EXPECT_EQ(said("make \"micro-batch\" or adapter.rank smaller"),
            "make --micro-batch or --adapter-rank smaller");
  EXPECT_EQ(said("\"seed\" was 0 and is 1"), "--seed was 0 and is 1");
  EXPECT_EQ(said("stages[0].data[11].path was \"a\""), "--chat was \"a\"");
  EXPECT_EQ(said("stages[0].sequence was 3"), "--sequence was 3");
  EXPECT_EQ(said("stage 1 learns: give it a \"start\""), "the run learns: give it a --start");
  EXPECT_EQ(said("stage 10 of stage 1"), "stage 10 of the run");
}

TEST(RecipeWords, LeaveOtherTextAlone) {
  const GivenFlags given{.alone = true, .typed = {}, .data = "--data"};
  for (const char* text :
       {"'model.layers.0.mlp.up_proj.weight' has the shape [4, 8]", "/my/model.layers: is a file",
        "batch, sequence and start are words", "\"layers\" is no key by itself", "", "...", "\"\"", "stages[",
        "]][[0]", "Zürich: \xff"})
    EXPECT_EQ(with_flags(text, given), text);
}

TEST(RecipeWords, ARecipesKeysStayButForTypedFlags) {
  const GivenFlags given{.alone = false, .typed = {"schedule-peak", "batch"}, .data = "--data"};
  EXPECT_EQ(with_flags("stage 1: stages[0].schedule.peak, schedule.last, \"batch\" and \"sequence\"", given),
            "stage 1: --schedule-peak, schedule.last, --batch and \"sequence\"");
  EXPECT_EQ(with_flags("stages[0].data[0].path was 1", given), "stages[0].data[0].path was 1");
}

}  // namespace
}  // namespace tw::spec
