// What keys and values may be stored as: the memory each type takes, and that with none of them a bit of an
// answer depends on company, chunks, memory or prefix hits.
#include "infer/test_engine.h"
#include "spec/serve_config.h"

namespace tw::infer {
namespace {

class KvTypes : public EngineTest, public ::testing::WithParamInterface<base::DType> {
 protected:
  /// Greedy answers with their log-probabilities, the prompt's too.
  GenerateRequest scored(const std::string& prompt) const {
    GenerateRequest request = greedy(prompt, 60);
    request.logprobs = 1;
    request.ignore_eos = true;
    return request;
  }
  static std::vector<float> logprobs(const Answer& answer) {
    std::vector<float> all;
    for (const TokenLogprob& logprob : answer.logprobs) all.push_back(logprob.logprob);
    return all;
  }
};

TEST_P(KvTypes, CompanyChunksAndPreemptionDoNotChangeABitOfAnAnswer) {
  const std::vector<std::string> prompts = {"Once upon a time, there was a little girl named Lily. One day",
                                            "The dog", "One day, a big red ball"};
  EngineOptions options;
  options.kv_type = GetParam();
  options.prefix_cache = false;
  start(options);
  std::vector<std::unique_ptr<Answer>> alone;
  for (const std::string& prompt : prompts) alone.push_back(ask_and_wait(scored(prompt)));
  EngineOptions crowded = options;
  crowded.max_step_tokens = 7;
  crowded.context = 96;
  crowded.kv_bytes = kv_for(208, GetParam());
  for (const EngineOptions& shared : {options, crowded}) {
    start(shared);
    std::vector<std::unique_ptr<Answer>> together;
    for (int i = 0; i < 9; ++i) together.push_back(ask(scored(prompts[i % 3])));
    for (std::size_t i = 0; i < together.size(); ++i) {
      together[i]->wait();
      EXPECT_EQ(together[i]->tokens, alone[i % 3]->tokens) << prompts[i % 3];
      EXPECT_EQ(logprobs(*together[i]), logprobs(*alone[i % 3])) << prompts[i % 3];
    }
  }
  EXPECT_GT(engine_->stats().preemptions, 0U);
}

TEST_P(KvTypes, PrefixHitsDoNotChangeABitOfAnAnswer) {
  EngineOptions options;
  options.kv_type = GetParam();
  start(options);
  const std::string prompt =
      "Once upon a time, there was a little girl named Lily. She loved to play outside";
  const auto first = ask_and_wait(scored(prompt)), second = ask_and_wait(scored(prompt));
  EXPECT_GE(second->last.cached_tokens, 16);
  EXPECT_EQ(first->tokens, second->tokens);
  EXPECT_EQ(logprobs(*first), logprobs(*second));
}

TEST_P(KvTypes, MemoryIsWhatTheTypeTakes) {
  const spec::ModelConfig& c = model_->config();
  const std::int64_t heads = 2 * c.layers * c.kv_heads;  // of keys and of values
  const std::int64_t token = GetParam() == base::DType::kF32  ? heads * c.head_dim * 4
                             : GetParam() == base::DType::kI8 ? heads * (c.head_dim + 4)  // a scale each
                                                              : heads * c.head_dim * 2;
  EngineOptions options;
  options.kv_type = GetParam();
  options.context = 128;
  options.max_running = 3;
  options.kv_bytes = 128 * token;  // room for just one of these sequences
  start(options);
  EXPECT_EQ(engine_->stats().cache.token_bytes, token);
  EXPECT_EQ(engine_->stats().cache.bytes, 128 * token);
  EXPECT_NE(engine_->description().find(std::to_string(token) + " bytes a token"), std::string::npos);
  options.kv_bytes = 128 * token - 1;
  EXPECT_FALSE(Engine::create(model_, options).ok());
}

INSTANTIATE_TEST_SUITE_P(All, KvTypes,
                         ::testing::Values(base::DType::kF16, base::DType::kBF16, base::DType::kI8,
                                           base::DType::kF32),
                         [](const auto& info) { return spec::kv_type_name(info.param); });

TEST_F(EngineTest, ATypeThatKeysAndValuesCannotHaveIsAnError) {
  EngineOptions options;
  options.kv_type = base::DType::kQ4_0;
  const auto engine = Engine::create(model_, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("cannot be stored as Q4_0"), std::string::npos);
}

}  // namespace
}  // namespace tw::infer
