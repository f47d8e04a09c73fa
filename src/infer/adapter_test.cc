// Adapters in the engine: several in one batch, none of which changes another's answer, a prefix cache that
// keeps them apart, and speculation beside them.
#include "model/adapter.h"

#include <gmock/gmock.h>

#include "infer/test_engine.h"

namespace tw::infer {
namespace {

const std::string kGolden = TW_SOURCE_DIR "/tests/golden/";

class EngineAdapters : public EngineTest {
 protected:
  using AdapterPtr = std::shared_ptr<const model::Adapter>;

  void SetUp() override {
    auto model = model::LoadedModel::load(kGolden + "families/llama3",
                                          {.isa = "", .threads = 2, .packed = {}, .progress = {}});
    ASSERT_TRUE(model.ok()) << model.error().text();
    model_ = *model;
    options_.context = 192;
    options_.kv_bytes = kv_for(4096);
    start(options_);
    all_ = load("llama3");
    gates_ = load("llama3-gates");
  }
  AdapterPtr load(const std::string& name) {
    auto adapter = engine_->load_adapter(kGolden + "lora/" + name);
    TW_CHECK(adapter.ok(), "the golden adapter loads");
    return *adapter;
  }
  GenerateRequest request(int kind, AdapterPtr adapter, std::int64_t tokens = 40) const {
    GenerateRequest r;
    for (int i = 0; i < 37; ++i) r.prompt.push_back((i * (3 + kind) + kind) % 250);
    r.sampling.temperature = 0.7F;
    r.sampling.seed = 5;
    r.max_tokens = tokens;
    r.ignore_eos = true;
    r.logprobs = 0;
    r.adapter = std::move(adapter);
    return r;
  }
  /// Tokens and their probabilities, which show a difference of one bit.
  static std::vector<std::pair<std::int32_t, float>> of(const Answer& answer) {
    std::vector<std::pair<std::int32_t, float>> all;
    for (const TokenLogprob& t : answer.logprobs) all.emplace_back(t.token, t.logprob);
    return all;
  }

  EngineOptions options_;
  AdapterPtr all_, gates_;
};

TEST_F(EngineAdapters, AnswersDependOnTheirOwnAdapterAlone) {
  std::vector<std::vector<std::pair<std::int32_t, float>>> alone;
  const std::vector<AdapterPtr> adapters = {nullptr, all_, gates_};
  for (int kind = 0; kind < 3; ++kind) {
    for (const AdapterPtr& adapter : adapters) alone.push_back(of(*ask_and_wait(request(kind, adapter))));
  }
  for (std::size_t i = 0; i < alone.size(); i += 3) {
    EXPECT_NE(alone[i], alone[i + 1]);
    EXPECT_NE(alone[i], alone[i + 2]);
    EXPECT_NE(alone[i + 1], alone[i + 2]);
  }
  options_.prefix_cache = false;
  options_.max_step_tokens = 50;  // prompts are cut, beside answers
  start(options_);
  std::vector<std::unique_ptr<Answer>> together;
  for (int round = 0; round < 2; ++round) {
    for (int kind = 0; kind < 3; ++kind) {
      for (const AdapterPtr& adapter : adapters) together.push_back(ask(request(kind, adapter)));
    }
  }
  for (std::size_t i = 0; i < together.size(); ++i) {
    together[i]->wait();
    EXPECT_EQ(of(*together[i]), alone[i % alone.size()]) << i;
  }
}

TEST_F(EngineAdapters, ThePrefixCacheKeepsThemApart) {
  ask_and_wait(request(1, all_));
  EXPECT_EQ(ask_and_wait(request(1, nullptr))->last.cached_tokens, 0);
  EXPECT_EQ(ask_and_wait(request(1, gates_))->last.cached_tokens, 0);
  EXPECT_EQ(ask_and_wait(request(1, all_))->last.cached_tokens, 32);
  const AdapterPtr again = load("llama3");  // the same weights, loaded anew
  EXPECT_EQ(ask_and_wait(request(1, again))->last.cached_tokens, 32);
  GenerateRequest salted = request(1, all_);
  salted.cache_salt = 7;
  EXPECT_EQ(ask_and_wait(salted)->last.cached_tokens, 0);
}

TEST_F(EngineAdapters, SpeculationGuessesForThemToo) {
  const auto plain = of(*ask_and_wait(request(2, all_, 100)));
  options_.speculate = true;
  options_.draft = model_;  // without the adapter it guesses wrong sometimes
  options_.draft_tokens = 3;
  start(options_);
  EXPECT_EQ(of(*ask_and_wait(request(2, all_, 100))), plain);
  EXPECT_GT(engine_->stats().guessed_tokens, 0U);
}

TEST_F(EngineAdapters, StatsNameThoseOfRunningSequences) {
  GenerateRequest named = request(0, all_, 150);
  named.adapter_name = "all";
  const std::uint64_t before = engine_->stats().steps;
  const auto answer = ask(named);
  std::set<std::string> running, waiting;
  while (running.empty() && engine_->stats().steps < before + 100) {
    const EngineStats stats = engine_->stats();
    running = stats.running_adapters;
    waiting.insert(stats.waiting_adapters.begin(), stats.waiting_adapters.end());
  }
  EXPECT_EQ(running, std::set<std::string>{"all"});
  waiting.erase("all");
  EXPECT_TRUE(waiting.empty());
  answer->wait();
  wait_until_idle();
  EXPECT_EQ(engine_->stats().running_adapters.size() + engine_->stats().waiting_adapters.size(), 0U);
  EXPECT_EQ(engine_->stats().most_running, options_.max_running);
}

TEST_F(EngineAdapters, ARequestKeepsWhatItRunsWith) {
  const auto wanted = of(*ask_and_wait(request(0, all_, 120)));
  const std::weak_ptr<const model::Adapter> watched = all_;
  auto answer = ask(request(0, std::move(all_), 120));
  all_ = nullptr;
  answer->wait();
  EXPECT_EQ(of(*answer), wanted);
  wait_until_idle();
  for (int i = 0; i < 500 && !watched.expired(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(watched.expired());
}

TEST_F(EngineAdapters, EmbeddingsAreTheAdapters) {
  GenerateRequest plain = request(0, nullptr), adapted = request(0, all_);
  plain.embed = adapted.embed = true;
  plain.logprobs = adapted.logprobs = -1;
  EXPECT_NE(ask_and_wait(plain)->last.embedding, ask_and_wait(adapted)->last.embedding);
}

TEST_F(EngineAdapters, OneOfAnotherModelIsRefused) {
  const auto wrong = engine_->load_adapter(kGolden + "lora/mistral-Q8_0");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text(), testing::HasSubstr("lora_"));
}

}  // namespace
}  // namespace tw::infer
