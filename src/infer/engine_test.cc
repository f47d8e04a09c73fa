// The engine on stories260K: answers that do not depend on company, memory or chunks; cancelling; stop
// strings; log-probabilities; grammars; limits.
#include "infer/engine.h"

#include <atomic>

#include "base/json.h"
#include "base/mmap.h"
#include "infer/test_engine.h"

namespace tw::infer {
namespace {

TEST_F(EngineTest, GreedyTextIsThePublishedOne) {
  start();
  const auto json =
      base::parse_json(base::read_file(TW_SOURCE_DIR "/tests/golden/stories260K/greedy.json").value())
          .value();
  auto request = greedy("", 255);
  request.prompt = {1};
  request.ignore_eos = true;
  const auto answer = ask_and_wait(std::move(request));
  const auto published = json["greedy_ids"].get<std::vector<std::int32_t>>();
  EXPECT_EQ(answer->tokens, std::vector<std::int32_t>(published.begin(), published.begin() + 255));
  EXPECT_EQ(*answer->last.finish, FinishReason::kLength);
  EXPECT_NE(answer->text.find("Once upon a time, there was a little girl named Lily."), std::string::npos);
}

TEST_F(EngineTest, CompanyDoesNotChangeAnAnswer) {
  const std::vector<std::string> prompts = {"Once upon a time", "Lily", "The dog", "One day, a big red ball",
                                            "Tom and his mom"};
  start();
  std::vector<std::vector<std::int32_t>> alone;
  for (const std::string& prompt : prompts) alone.push_back(ask_and_wait(greedy(prompt, 60))->tokens);
  start();
  std::vector<std::unique_ptr<Answer>> together;
  for (int round = 0; round < 4; ++round) {
    for (const std::string& prompt : prompts) together.push_back(ask(greedy(prompt, 60)));
  }
  for (std::size_t i = 0; i < together.size(); ++i) {
    together[i]->wait();
    EXPECT_EQ(together[i]->tokens, alone[i % prompts.size()]) << prompts[i % prompts.size()];
  }
}

TEST_F(EngineTest, PreemptionForWantOfMemoryDoesNotChangeAnAnswer) {
  start();
  const auto alone = ask_and_wait(greedy("Once upon a time", 150))->tokens;
  EngineOptions small;
  small.context = 192;
  small.kv_bytes = kv_for(256);  // not enough for two long answers
  small.prefix_cache = false;
  start(small);
  std::vector<std::unique_ptr<Answer>> answers;
  for (int i = 0; i < 4; ++i) answers.push_back(ask(greedy("Once upon a time", 150)));
  for (auto& answer : answers) {
    answer->wait();
    EXPECT_EQ(answer->tokens, alone);
  }
  EXPECT_GT(engine_->stats().preemptions, 0U);
}

TEST_F(EngineTest, PrefixHitsDoNotChangeAnAnswer) {
  start();
  const std::string prompt =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day";
  const auto first = ask_and_wait(greedy(prompt, 40)), second = ask_and_wait(greedy(prompt, 40));
  EXPECT_EQ(first->last.cached_tokens, 0);
  EXPECT_GE(second->last.cached_tokens, 16);
  EXPECT_EQ(first->tokens, second->tokens);
}

TEST_F(EngineTest, ChunksDoNotChangeAnAnswer) {
  const std::string prompt =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day";
  start();
  const auto whole = ask_and_wait(greedy(prompt, 40))->tokens;
  EngineOptions chunked;
  chunked.max_step_tokens = 5;
  start(chunked);
  EXPECT_EQ(ask_and_wait(greedy(prompt, 40))->tokens, whole);
}

TEST_F(EngineTest, LayersInSeveralStepsDoNotChangeAnAnswer) {
  const auto prompts = std::to_array<std::string>(
      {"Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day",
       "Tim and his mom went to the big red house to see", "The dog"});
  start();
  std::vector<std::vector<std::int32_t>> alone;
  for (const std::string& prompt : prompts) alone.push_back(ask_and_wait(greedy(prompt, 20))->tokens);
  EngineOptions fluent;
  fluent.decode_stretch = 1.01;  // leaves a prompt one layer a step
  start(fluent);
  auto request = greedy("Lily", 450);
  request.ignore_eos = true;
  const auto reading = ask(request);
  reading->wait_for_chunks(3);
  const auto before = static_cast<std::int64_t>(engine_->stats().steps);
  const auto one = ask_and_wait(greedy(prompts[0], 20));
  EXPECT_EQ(one->tokens, alone[0]);
  EXPECT_GE(static_cast<std::int64_t>(engine_->stats().steps), before + model_->config().layers + 19);
  std::vector<std::unique_ptr<Answer>> together;
  for (const std::string& prompt : prompts) together.push_back(ask(greedy(prompt, 20)));
  for (std::size_t i = 0; i < together.size(); ++i) {
    together[i]->wait();
    EXPECT_EQ(together[i]->tokens, alone[i]) << prompts[i];
  }
  // Some leave while they are on their way through the layers beside others.
  for (int round = 0; round < 10; ++round) {
    Answer leaves;
    const Ticket ticket = engine_->submit(greedy(prompts[1] + prompts[0], 20), leaves.sink()).value();
    const auto stays = ask(greedy(prompts[2], 5));
    std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
    engine_->cancel(ticket);
    stays->wait();
    EXPECT_TRUE(std::equal(stays->tokens.begin(), stays->tokens.end(), alone[2].begin()));
    leaves.wait();
  }
  reading->wait();
}

TEST_F(EngineTest, ThreadsThatComeAndGoDoNotChangeAnAnswer) {
  const auto ask_three = [&] {
    std::vector<std::unique_ptr<Answer>> answers;
    for (const char* prompt : {"Once upon a time there was a cat", "Tim had", "The big red ball rolled"}) {
      auto request = greedy(prompt, 60);
      request.sampling.temperature = 0.8F;
      request.sampling.seed = 11;
      request.logprobs = 3;
      answers.push_back(ask(std::move(request)));
    }
    for (const auto& answer : answers) answer->wait();
    return answers;
  };
  EngineOptions options;
  options.threads = 1;
  start(options);
  const auto expected = ask_three();
  std::atomic<std::uint64_t> steps{0};
  options.threads = 4;
  options.max_step_tokens = 7;
  options.step_threads = [&](std::uint64_t n) {
    ++steps;
    return static_cast<int>(n * n % 5);  // 0, 1, 4, 4, 1: 0 lets the team choose
  };
  start(options);
  const auto changing = ask_three();
  EXPECT_GT(steps, 60U);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(changing[i]->tokens, expected[i]->tokens);
    ASSERT_EQ(changing[i]->logprobs.size(), expected[i]->logprobs.size());
    for (std::size_t t = 0; t < expected[i]->logprobs.size(); ++t) {
      EXPECT_EQ(changing[i]->logprobs[t].logprob, expected[i]->logprobs[t].logprob) << "token " << t;
      EXPECT_EQ(changing[i]->logprobs[t].top, expected[i]->logprobs[t].top) << "token " << t;
    }
  }
}

TEST_F(EngineTest, SameSeedSameAnswerWhateverElseRuns) {
  start();
  auto request = greedy("Once upon a time", 50);
  request.sampling.temperature = 1.0F;
  request.sampling.top_p = 0.9F;
  request.sampling.seed = 1234;
  const auto alone = ask_and_wait(request)->tokens;
  std::vector<std::unique_ptr<Answer>> others;
  for (int i = 0; i < 5; ++i) {
    auto other = request;
    other.sampling.seed = static_cast<std::uint64_t>(i);
    others.push_back(ask(other));
  }
  const auto again = ask_and_wait(request);
  for (auto& other : others) other->wait();
  EXPECT_EQ(again->tokens, alone);
  EXPECT_NE(others[0]->tokens, alone);
}

TEST_F(EngineTest, CancelFreesEverything) {
  start();
  auto request = greedy("Once upon a time", 400);
  request.ignore_eos = true;
  Answer answer;
  const Ticket ticket = engine_->submit(request, answer.sink()).value();
  answer.wait_for_chunks(3);
  engine_->cancel(ticket);
  answer.wait();
  EXPECT_EQ(*answer.last.finish, FinishReason::kAborted);
  wait_until_idle();
  EXPECT_EQ(engine_->stats().kv_usage, 0);
  engine_->cancel(ticket);  // a second time, and one that never was
  engine_->cancel(99999);
  EXPECT_EQ(ask_and_wait(greedy("Lily", 5))->tokens.size(), 5U);
}

TEST_F(EngineTest, StopStringsEndTheAnswerBeforeThem) {
  start();
  auto request = greedy("Once upon a time", 100);
  const std::string full = ask_and_wait(request)->text;
  request.stop = {"never said", "girl named"};
  const auto answer = ask_and_wait(request);
  EXPECT_EQ(answer->text, full.substr(0, full.find("girl named")));
  EXPECT_EQ(answer->last.stop_text, "girl named");
  EXPECT_EQ(*answer->last.finish, FinishReason::kStop);
}

TEST_F(EngineTest, PromptLogprobsAreThoseOfGenerating) {
  start();
  auto request = greedy("Once upon a time", 12);
  request.logprobs = 3;
  const auto generated = ask_and_wait(request);
  ASSERT_EQ(generated->logprobs.size(), generated->tokens.size());
  auto scored = request;
  scored.prompt.insert(scored.prompt.end(), generated->tokens.begin(), generated->tokens.end());
  scored.prompt_logprobs = true;
  scored.max_tokens = 0;
  const auto score = ask_and_wait(scored);
  ASSERT_EQ(score->prompt_logprobs.size(), scored.prompt.size());
  EXPECT_FALSE(score->prompt_logprobs[0].has_value());
  for (std::size_t i = 0; i < generated->tokens.size(); ++i) {
    const auto& entry = score->prompt_logprobs[request.prompt.size() + i];
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->token, generated->tokens[i]);
    const kernels::Table& table = model_->table();
    if (table.prefill[static_cast<int>(base::DType::kF32)] !=
        nullptr) {  // prompts are added in another order
      EXPECT_NEAR(entry->logprob, generated->logprobs[i].logprob, table.bf16_prompts() ? 0.05 : 1e-3);
    } else {
      EXPECT_EQ(entry->logprob, generated->logprobs[i].logprob);
      EXPECT_EQ(entry->top, generated->logprobs[i].top);
    }
    EXPECT_EQ(entry->top[0].first, entry->token);  // greedy: it was the likeliest
  }
  EXPECT_EQ(score->last.generated_tokens, 0);
}

/// Answers to one question share its blocks, and what is asked for has the very bits of scoring everything.
TEST_F(EngineTest, LogprobsFromAPositionOnTakeWhatIsBeforeFromTheCache) {
  EngineOptions options;
  options.prefix_cache = false;
  start(options);
  auto request = greedy("Once upon a time, there was a little girl named Lily. She loved to play outside", 0);
  request.prompt_logprobs = true;
  request.logprobs = 0;
  const auto whole = ask_and_wait(request);
  start();
  const auto length = std::ssize(request.prompt);
  request.prompt_logprobs_from = length - 3;
  for (const bool again : {false, true}) {
    const auto part = ask_and_wait(request);
    EXPECT_EQ(part->last.cached_tokens, again ? (length - 4) / kBlockTokens * kBlockTokens : 0);
    ASSERT_EQ(std::ssize(part->prompt_logprobs), length);
    for (std::int64_t i = 0; i < length; ++i) {
      const auto &got = part->prompt_logprobs[i], &wanted = whole->prompt_logprobs[i];
      ASSERT_EQ(got.has_value(), i >= length - 3) << i;
      if (got) {
        EXPECT_EQ(got->logprob, wanted->logprob) << i;
      }
    }
  }
}

/// Text that repeats is guessed; what is drawn does not change, whether greedily or by chance.
TEST_F(EngineTest, GuessingChangesNoAnswer) {
  const std::string story = "Tim had a red ball. Tim had a big dog. ";
  std::vector<GenerateRequest> requests;
  for (const float temperature : {0.0F, 0.3F, 1.0F}) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      auto request = greedy(story + story + story, 60);
      request.sampling.temperature = temperature;
      request.sampling.seed = seed;
      request.sampling.repetition_penalty = seed % 2 == 0 ? 1.1F : 1.0F;
      request.logprobs = 2;
      if (seed == 3) request.stop = {"dog. Tim"};
      requests.push_back(std::move(request));
    }
  }
  std::vector<std::unique_ptr<Answer>> plain, guessed;
  start();
  for (const auto& request : requests) plain.push_back(ask_and_wait(request));
  EXPECT_EQ(engine_->stats().guesses, 0U);
  EngineOptions options;
  options.speculate = true;
  start(options);
  for (const auto& request : requests) guessed.push_back(ask_and_wait(request));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(guessed[i]->tokens, plain[i]->tokens) << i;
    EXPECT_EQ(guessed[i]->text, plain[i]->text) << i;
    EXPECT_EQ(guessed[i]->last.finish, plain[i]->last.finish) << i;
    EXPECT_EQ(guessed[i]->last.generated_tokens, plain[i]->last.generated_tokens) << i;
    ASSERT_EQ(guessed[i]->logprobs.size(), plain[i]->logprobs.size()) << i;
    for (std::size_t t = 0; t < plain[i]->logprobs.size(); ++t)
      EXPECT_EQ(guessed[i]->logprobs[t].logprob, plain[i]->logprobs[t].logprob) << i << " token " << t;
  }
  EXPECT_GT(engine_->stats().accepted_tokens, 10U);
  EXPECT_GT(engine_->stats().guessed_tokens, engine_->stats().accepted_tokens)
      << "wrong guesses are tested too";
}

TEST_F(EngineTest, EmbeddingsDoNotDependOnChunks) {
  start();
  auto request = greedy("Once upon a time, there was a little girl", 0);
  request.embed = true;
  const auto whole = ask_and_wait(request)->last.embedding;
  EXPECT_EQ(static_cast<std::int64_t>(whole.size()), model_->config().width);
  EngineOptions chunked;
  chunked.max_step_tokens = 3;
  start(chunked);
  EXPECT_EQ(ask_and_wait(request)->last.embedding, whole);
}

TEST_F(EngineTest, GrammarHolds) {
  start();
  auto request = greedy("Once upon a time", 60);
  request.grammar = text::compile_regex("(yes|no), [0-9]{3}").value();
  const auto answer = ask_and_wait(request);
  EXPECT_TRUE(answer->text == "yes, " + answer->text.substr(5) ||
              answer->text == "no, " + answer->text.substr(4))
      << answer->text;
  EXPECT_EQ(answer->text.size(), answer->text[0] == 'y' ? 8U : 7U) << answer->text;
  EXPECT_EQ(*answer->last.finish, FinishReason::kStop);
}

/// What no check before can find: the parses of one place pass the matcher's limit in the midst of an answer.
TEST_F(EngineTest, AGrammarTooAmbiguousEndsTheAnswerWithItsOwnError) {
  start();
  auto request = greedy("Once upon a time", 400);
  std::string many = "root ::= \"x\" r0\n";  // 2000 parses after the first byte
  for (int i = 0; i < 2000; ++i) many += fmt::format("r{} ::= r{} r{} | \"a\"\n", i, i + 1, i + 1);
  request.grammar = text::compile_gbnf(many + "r2000 ::= \"b\"").value();
  const auto answer = ask_and_wait(request);
  EXPECT_EQ(*answer->last.finish, FinishReason::kError);
  EXPECT_TRUE(answer->last.grammar_failed);
  EXPECT_NE(answer->last.error.find("too ambiguous"), std::string::npos) << answer->last.error;
}

/// A prompt may take seconds: whoever watches the gauges must see it meanwhile.
TEST_F(EngineTest, ARequestCountsAsRunningInItsFirstStep) {
  std::vector<EngineStats> seen;
  EngineOptions options;
  options.threads = 1;
  auto engine = Engine::create(model_, options, [&](std::int64_t) { seen.push_back(engine_->stats()); });
  ASSERT_TRUE(engine.ok());
  engine_ = std::move(*engine);
  ask_and_wait(greedy("Once upon a time", 2));
  engine_->stop();
  ASSERT_GE(seen.size(), 1U);
  EXPECT_EQ(seen[0].running, 1);
  EXPECT_EQ(seen[0].waiting, 0);
  EXPECT_GT(seen[0].kv_usage, 0);
  EXPECT_EQ(seen[0].steps, 0U);
  EXPECT_EQ(engine_->stats().steps, seen.size());
}

TEST_F(EngineTest, LimitsAreErrorsThatNameThem) {
  EngineOptions options;
  options.context = 64;
  options.max_running = 1;
  options.max_waiting = 1;
  start(options);
  auto request = greedy("Lily", 1000);
  request.ignore_eos = true;
  const auto refused = [&](std::vector<std::int32_t> prompt) {
    GenerateRequest bad;
    bad.prompt = std::move(prompt);
    return engine_->submit(bad, {}).error();
  };
  const std::string too_long = refused(std::vector<std::int32_t>(64, 5)).message;
  EXPECT_NE(too_long.find("64"), std::string::npos) << too_long;
  EXPECT_EQ(refused({}).code, base::Code::kInvalidArgument);
  EXPECT_EQ(refused({100000}).code, base::Code::kInvalidArgument);
  std::vector<std::unique_ptr<Answer>> answers;
  bool full = false;
  for (int i = 0; i < 50 && !full; ++i) {
    auto answer = std::make_unique<Answer>();
    auto ticket = engine_->submit(request, answer->sink());
    full = !ticket.ok();
    if (full) {
      EXPECT_EQ(ticket.error().code, base::Code::kResourceExhausted);
    } else {
      answers.push_back(std::move(answer));
    }
  }
  EXPECT_TRUE(full);
  for (auto& answer : answers) {
    answer->wait();
    EXPECT_EQ(*answer->last.finish, FinishReason::kLength);
    EXPECT_EQ(answer->last.generated_tokens + answer->last.prompt_tokens, 64);
  }
}

TEST_F(EngineTest, StopEndsRunningRequests) {
  start();
  auto request = greedy("Once upon a time", 400);
  request.ignore_eos = true;
  auto answer = ask(request);
  answer->wait_for_chunks(2);
  engine_->stop();
  answer->wait();
  EXPECT_EQ(*answer->last.finish, FinishReason::kAborted);
  EXPECT_EQ(engine_->submit(request, {}).error().code, base::Code::kUnavailable);
}

TEST_F(EngineTest, TooLittleMemoryIsAnErrorThatSaysWhatToDo) {
  EngineOptions options;
  options.context = 512;
  options.kv_bytes = kv_for(64);
  const auto engine = Engine::create(model_, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("--kv-memory"), std::string::npos);
}

TEST_F(EngineTest, ManyThreadsSubmitAndCancel) {
  EngineOptions options;
  options.max_running = 8;
  options.kv_bytes = kv_for(1024);
  start(options);
  const auto expected = ask_and_wait(greedy("Once upon a time", 30))->tokens;
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 6; ++i) {
        Answer answer;
        const Ticket ticket = engine_->submit(greedy("Once upon a time", 30), answer.sink()).value();
        if ((c + i) % 3 == 0) engine_->cancel(ticket);
        answer.wait();
        if (*answer.last.finish != FinishReason::kAborted) {
          EXPECT_EQ(answer.tokens, expected);
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  wait_until_idle();
  EXPECT_EQ(engine_->stats().kv_usage, 0);
}

}  // namespace
}  // namespace tw::infer
