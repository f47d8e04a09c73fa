// For tests: an engine on stories260K, and what collects its answers.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "infer/engine.h"
#include "infer/paged_kv.h"
#include "model/loaded_model.h"

namespace tw::infer {

inline std::shared_ptr<const model::LoadedModel> stories() {
  auto model = model::LoadedModel::load(TW_SOURCE_DIR "/tests/data/models/stories260K.gguf",
                                        {.isa = "", .threads = 2, .progress = {}});
  TW_CHECK(model.ok(), "the test model loads");
  return *model;
}

/// Collects an answer; wait() returns when its last chunk has come.
class Answer {
 public:
  Sink sink() {
    return [this](const Chunk& chunk) {
      std::lock_guard lock(mutex_);
      text += chunk.text;
      tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
      logprobs.insert(logprobs.end(), chunk.logprobs.begin(), chunk.logprobs.end());
      if (!chunk.prompt_logprobs.empty()) prompt_logprobs = chunk.prompt_logprobs;
      ++chunks;
      if (chunk.finish) {
        last = chunk;
        done_ = true;
      }
      wake_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(wake_.wait_for(lock, std::chrono::seconds(60), [&] { return done_; }))
        << "no last chunk within a minute";
  }
  void wait_for_chunks(int count) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::seconds(60), [&] { return chunks >= count || done_; });
  }

  std::string text;
  std::vector<std::int32_t> tokens;
  std::vector<TokenLogprob> logprobs;
  std::vector<std::optional<TokenLogprob>> prompt_logprobs;
  Chunk last;
  int chunks = 0;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
};

class EngineTest : public ::testing::Test {
 protected:
  void start(EngineOptions options = {}) {
    if (options.threads == 0) options.threads = 2;
    auto engine = Engine::create(model_, options);
    ASSERT_TRUE(engine.ok()) << engine.error().text();
    engine_ = std::move(*engine);
  }
  /// Memory for so many tokens of keys and values.
  std::int64_t kv_for(std::int64_t tokens, base::DType type = base::DType::kF16) const {
    return static_cast<std::int64_t>(PagedKv::block_bytes(model_->config(), type)) * (tokens / kBlockTokens);
  }
  GenerateRequest greedy(const std::string& prompt, std::int64_t max_tokens) const {
    GenerateRequest request;
    request.prompt = model_->card().tokenizer->encode(prompt);
    request.sampling.temperature = 0;
    request.max_tokens = max_tokens;
    return request;
  }
  std::unique_ptr<Answer> ask(GenerateRequest request) {
    auto answer = std::make_unique<Answer>();
    auto ticket = engine_->submit(std::move(request), answer->sink());
    EXPECT_TRUE(ticket.ok()) << ticket.error().text();
    return answer;
  }
  std::unique_ptr<Answer> ask_and_wait(GenerateRequest request) {
    auto answer = ask(std::move(request));
    answer->wait();
    return answer;
  }
  void wait_until_idle() {
    for (int i = 0; i < 1000; ++i) {
      const EngineStats stats = engine_->stats();
      if (stats.running == 0 && stats.waiting == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL() << "the engine does not become idle";
  }

  std::shared_ptr<const model::LoadedModel> model_ = stories();
  std::unique_ptr<Engine> engine_;
};

}  // namespace tw::infer
