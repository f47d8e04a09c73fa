// The tiny models of every family through the engine: greedy answers, penalties and ends are those of
// transformers' generate(), with what generation_config.json says (tests/golden/families).
#include <gtest/gtest.h>

#include <future>

#include "infer/engine.h"
#include "kernels/table.h"
#include "model/loaded_model.h"
#include "model/test_families.h"

namespace tw {
namespace {

class FamilyEngine : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    // The best set whose prompts are precise: amx computes them in bf16, where a near tie may fall otherwise.
    auto sets = kernels::available_sets(kernels::detect_features());
    std::erase(sets, "amx");
    auto model = model::LoadedModel::load(model::kFamilies + golden_["path"].get<std::string>(),
                                          {.isa = sets.front(), .threads = 1, .progress = {}});
    ASSERT_TRUE(model.ok()) << model.error().text();
    model_ = *model;
    infer::EngineOptions options;
    options.threads = 1;
    options.kv_type = base::DType::kF32;
    auto engine = infer::Engine::create(model_, options);
    ASSERT_TRUE(engine.ok()) << engine.error().text();
    engine_ = *std::move(engine);
  }

  struct Answer {
    std::vector<std::int32_t> tokens;
    infer::FinishReason finish = infer::FinishReason::kError;
  };
  Answer ask(const base::Json& prompt, std::size_t max_tokens, bool ignore_eos, float penalty = 1) {
    infer::GenerateRequest request;
    request.prompt = model::ids_of(prompt);
    request.max_tokens = static_cast<std::int64_t>(max_tokens);
    request.ignore_eos = ignore_eos;
    request.sampling.temperature = 0;
    request.sampling.repetition_penalty = penalty;
    Answer answer;
    std::promise<void> done;
    const auto ticket = engine_->submit(request, [&](const infer::Chunk& chunk) {
      answer.tokens.insert(answer.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
      if (!chunk.finish) return;
      answer.finish = *chunk.finish;
      done.set_value();
    });
    EXPECT_TRUE(ticket.ok()) << ticket.error().text();
    if (ticket.ok()) done.get_future().wait();
    return answer;
  }

  const base::Json golden_ = model::family_golden(GetParam());
  std::shared_ptr<const model::LoadedModel> model_;
  std::unique_ptr<infer::Engine> engine_;
};

TEST_P(FamilyEngine, GreedyAnswersAreTransformers) {
  for (const base::Json& prompt : golden_["prompts"]) {
    const auto expected = model::ids_of(prompt["greedy"]);
    EXPECT_EQ(ask(prompt["ids"], expected.size(), true).tokens, expected);
  }
}

TEST_P(FamilyEngine, PenalizedAnswersAreTransformers) {
  const auto expected = model::ids_of(golden_["penalized"]);
  const auto answer =
      ask(golden_["prompts"][0]["ids"], expected.size(), true, golden_["penalty"].get<float>());
  EXPECT_EQ(answer.tokens, expected);
}

/// Folders only: GGUF files hold no list of end tokens.
class FamilyEnd : public FamilyEngine {};

TEST_P(FamilyEnd, EndTokensOfTheGenerationConfigEndTheAnswer) {
  auto expected = model::ids_of(golden_["stopped"]);
  ASSERT_EQ(expected.back(), golden_["end_tokens"][1].get<std::int32_t>());
  expected.pop_back();  // the end itself is not part of the answer
  const Answer answer = ask(golden_["prompts"][0]["ids"], expected.size() + 5, false);
  EXPECT_EQ(answer.finish, infer::FinishReason::kStop);
  EXPECT_EQ(answer.tokens, expected);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyEngine, ::testing::ValuesIn(model::family_names()),
                         [](const auto& info) { return model::test_name(info.param); });
INSTANTIATE_TEST_SUITE_P(Families, FamilyEnd, ::testing::ValuesIn(model::family_names("stopped")),
                         [](const auto& info) { return model::test_name(info.param); });

}  // namespace
}  // namespace tw
