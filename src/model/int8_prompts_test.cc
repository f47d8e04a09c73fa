// Prompts in 8 bits: through whole models, dense and with experts.
#include <gtest/gtest.h>

#include "model/test_families.h"

namespace tw::model {
namespace {

bool available() {
  return kernels::make_table("", kernels::detect_features()).value().has_int8_prompts();
}

class Int8Prompts : public ::testing::TestWithParam<const char*> {
 protected:
  const base::Json golden_ = family_golden(GetParam());
  const std::string path_ = kFamilies + golden_["path"].get<std::string>();
};

TEST_P(Int8Prompts, SayNearlyTheSameWhateverTheyAreCutInto) {
  if (!available()) GTEST_SKIP() << "no kernel set of this processor has such products";
  const auto prompt = ids_of(golden_["prompts"][0]["ids"]);
  const auto rows_of = [&](bool int8, int workers, std::size_t first) {
    Harness harness(path_, "", workers, 1, {}, int8);
    std::vector<std::vector<float>> rows;
    for (std::size_t at = 0; at < prompt.size();) {
      const std::size_t length = at == 0 ? first : prompt.size() - at;
      harness.add(0, std::span(prompt).subspan(at, length), static_cast<std::int64_t>(at), true);
      for (auto& row : harness.run()) rows.push_back(std::move(row));
      at += length;
    }
    return rows;
  };
  const auto plain = rows_of(false, 1, prompt.size()), rounded = rows_of(true, 1, prompt.size());
  EXPECT_EQ(rows_of(true, 3, 17), rounded);
  EXPECT_NE(plain, rounded);
  double mean = 0;
  for (std::size_t i = 0; i < plain.size(); ++i)
    mean += cosine(plain[i], rounded[i]) / static_cast<double>(plain.size());
  std::printf("%s: mean cosine of the logits %.6f\n", GetParam(), mean);
  // Down projections alone are left as they are.
  const Harness harness(path_, "", 1, 1, {}, true);
  for (const Param& param : harness.model().params().params())
    EXPECT_EQ(param.matrix.exact(), param.name.ends_with("down_proj.weight")) << param.name;
  EXPECT_GT(mean, 0.985);  // of experts some are chosen differently
}

INSTANTIATE_TEST_SUITE_P(Families, Int8Prompts,
                         ::testing::Values("mistral-Q8_0", "qwen3-Q8_0", "mixtral-Q8_0", "gpt2-Q8_0"),
                         [](const auto& info) { return test_name(info.param); });

TEST(Int8PromptsError, ASetWithoutThemSaysSo) {
  const auto model =
      LoadedModel::load(kFamilies + "llama3", {.isa = "ref", .int8_prompts = true, .progress = {}});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, base::Code::kUnsupported);
  EXPECT_NE(model.error().message.find("--prompt-type int8"), std::string::npos);
}

}  // namespace
}  // namespace tw::model
