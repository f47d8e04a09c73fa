#include "infer/drafter.h"

#include <numeric>

#include "infer/test_engine.h"
#include "model/test_families.h"

namespace tw::infer {
namespace {

class DrafterTest : public EngineTest {
 protected:
  /// Answers at several temperatures, two requests at a time.
  std::vector<std::unique_ptr<Answer>> ask_all() {
    std::vector<std::unique_ptr<Answer>> answers;
    for (const float temperature : {0.0F, 0.7F, 1.0F}) {
      for (const char* prompt : {"Once upon a time there was a cat", "Tim had"}) {
        auto request = greedy(prompt, 70);
        request.sampling.temperature = temperature;
        request.sampling.seed = 5;
        request.logprobs = 1;
        request.ignore_eos = true;
        answers.push_back(ask(std::move(request)));
      }
      for (const auto& answer : answers) answer->wait();
    }
    return answers;
  }
  static void expect_equal(const std::vector<std::unique_ptr<Answer>>& got,
                           const std::vector<std::unique_ptr<Answer>>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i]->tokens, expected[i]->tokens) << i;
      ASSERT_EQ(got[i]->logprobs.size(), expected[i]->logprobs.size()) << i;
      for (std::size_t t = 0; t < got[i]->logprobs.size(); ++t)
        EXPECT_EQ(got[i]->logprobs[t].logprob, expected[i]->logprobs[t].logprob) << i << " token " << t;
    }
  }
  EngineOptions with_draft(std::int64_t tokens) const {
    EngineOptions options;
    options.draft = model_;
    options.draft_tokens = tokens;
    return options;
  }
};

/// A model that guesses for itself is right whenever the likeliest token is drawn.
TEST_F(DrafterTest, ItsOwnDraftIsAlwaysRightAtTemperatureZero) {
  auto request = greedy("Once upon a time, there was a little girl named Lily.", 120);
  request.ignore_eos = true;
  start();
  const auto plain = ask_and_wait(request);
  for (const std::int64_t tokens : {1, 4, 15}) {
    start(with_draft(tokens));
    EXPECT_EQ(ask_and_wait(request)->tokens, plain->tokens);
    const EngineStats stats = engine_->stats();
    EXPECT_EQ(stats.accepted_tokens, stats.guessed_tokens);
    // The first token comes of the prompt, the last step may have less to guess.
    EXPECT_GE(stats.accepted_tokens, static_cast<std::uint64_t>(119 * tokens / (tokens + 1) - tokens));
  }
}

TEST_F(DrafterTest, NoAnswerChanges) {
  start();
  const auto plain = ask_all();
  for (const std::int64_t tokens : {0, 1, 3, 7}) {
    EngineOptions options = with_draft(tokens);
    options.speculate = tokens == 7;  // both sources of guesses
    start(options);
    expect_equal(ask_all(), plain);
    const EngineStats stats = engine_->stats();
    if (tokens == 0) continue;  // the clock decides
    EXPECT_GT(stats.accepted_tokens, 20U);
    EXPECT_GT(stats.guessed_tokens, stats.accepted_tokens) << "wrong guesses are tested too";
  }
}

/// What it knows of a sequence ends with the sequence's blocks.
TEST_F(DrafterTest, PreemptionChunksAndPrefixHitsCostNoRightGuesses) {
  EngineOptions options = with_draft(3);
  options.context = 160;
  options.max_step_tokens = 12;
  options.kv_bytes = 2 * kv_for(176);  // three answers of 140 tokens do not fit; half is the draft's
  start(options);
  std::vector<std::unique_ptr<Answer>> answers;
  for (int i = 0; i < 3; ++i) {
    auto request = greedy("Once upon a time, there was a little girl named Lily. She", 120);
    request.ignore_eos = true;
    answers.push_back(ask(std::move(request)));
  }
  for (const auto& answer : answers) answer->wait();
  EXPECT_GT(engine_->stats().preemptions, 0U);
  EXPECT_GT(engine_->stats().accepted_tokens, 150U);
  EXPECT_EQ(engine_->stats().accepted_tokens, engine_->stats().guessed_tokens);
  for (const auto& answer : answers) EXPECT_EQ(answer->tokens, answers[0]->tokens);
}

TEST_F(DrafterTest, AnotherVocabularyIsRefused) {
  const auto other = model::LoadedModel::load(model::kFamilies + "qwen3", {.isa = "", .progress = {}});
  ASSERT_TRUE(other.ok()) << other.error().text();
  EngineOptions options;
  options.draft = *other;
  const auto engine = Engine::create(model_, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(engine.error().message.find("vocabulary"), std::string::npos) << engine.error().message;
}

/// A draft of learned positions has none after its own context: rows there would end the program.
TEST(Drafting, APromptLongerThanTheDraftsContextIsFollowedAsFarAsItGoes) {
  const auto gpt2 = model::LoadedModel::load(model::kFamilies + "gpt2", {.isa = "", .progress = {}});
  ASSERT_TRUE(gpt2.ok()) << gpt2.error().text();
  const std::int64_t context = (*gpt2)->config().context;
  base::Team team(1);
  const auto drafter = Drafter::create(
      *gpt2, {.blocks = 100, .context = 2 * context, .max_step_tokens = 64, .tokens = 4}, team);
  ASSERT_TRUE(drafter.ok()) << drafter.error().text();
  const std::vector<std::int32_t> prompt(48, 5);
  std::vector<sched::BlockId> blocks(100);
  std::iota(blocks.begin(), blocks.end(), 0);
  sched::Step step;
  for (const std::int64_t first : {context - 16, context, context + 32})
    step.slices = {{.first = first, .tokens = prompt, .blocks = blocks}}, (*drafter)->follow(step);
  const auto guess = [&](std::int64_t length) {
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(length), 5);
    return (*drafter)->guess({{0, tokens, blocks, 8}}).front().size();
  };
  EXPECT_EQ(guess(context - 2), 2U);
  EXPECT_EQ(guess(context + 40), 0U);
}

TEST(GuessLengthTest, IsAsLongAsPays) {
  GuessCosts costs;
  GuessLength length;
  EXPECT_EQ(length.choose(costs, 8), 0) << "nothing is known yet";
  costs.stepped(0, 1.0);
  costs.drafted(0.05);
  costs.stepped(2, 1.04);  // a row costs 0.02
  EXPECT_NEAR(costs.row(), 0.02, 1e-12);
  // By brute force: (1 + r + ... + r^k) / (1 + 0.07 k) with r = 0.7 is largest at k = 5.
  EXPECT_EQ(length.choose(costs, 15), 5);
  EXPECT_EQ(length.choose(costs, 2), 2);
  for (int i = 0; i < 60; ++i) length.learn(8, 8);
  EXPECT_EQ(length.choose(costs, 15), 15);
  for (int i = 0; i < 60; ++i) length.learn(8, 0);
  int tries = 0;
  for (int i = 0; i < 320; ++i) tries += length.choose(costs, 15) > 0 ? 1 : 0;
  EXPECT_EQ(tries, 10) << "now and then it is tried again";
}

/// A draft as slow as the model never pays, however right it is.
TEST(GuessLengthTest, ASlowDraftIsLeftOut) {
  GuessCosts costs;
  GuessLength length;
  costs.stepped(0, 1.0);
  costs.drafted(1.0);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(length.choose(costs, 15), 0);
    length.learn(4, 4);
  }
}

}  // namespace
}  // namespace tw::infer
