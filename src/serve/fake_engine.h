// For tests: a model whose tokens are bytes, and an engine that answers with given text. No weights, no
// kernels.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "infer/engine.h"
#include "model/model_card.h"
#include "text/token_mask.h"

namespace tw::serve {

/// Template in the manner of ChatML, with tools as Hermes and Qwen write them.
inline constexpr std::string_view kFakeTemplate =
    "{%- if tools %}{{- '<|im_start|>system\\nTools: <tool_call>' }}{%- for tool in tools %}{{- tool | "
    "tojson }}"
    "{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content }}"
    "{%- if message.tool_calls %}{%- for call in message.tool_calls %}{{- '<tool_call>\\n' }}"
    "{{- '{\"name\": \"' + call.function.name + '\", \"arguments\": ' }}{{- call.function.arguments | tojson "
    "}}"
    "{{- '}\\n</tool_call>' }}"
    "{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

inline constexpr std::int32_t kFakeStart = 256, kFakeEnd = 257;

/// Ids 0 to 255 are the bytes; <|im_start|> and <|im_end|> (end of text) follow.
inline base::Result<std::shared_ptr<const model::ModelCard>> fake_card(
    std::string_view chat_template = kFakeTemplate) {
  text::TokenizerSpec spec;
  char32_t next = 256;  // GPT-2's alphabet: bytes that do not print are shifted past Latin-1
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    base::append_utf8(spec.tokens.emplace_back(), prints ? byte : next++);
  }
  spec.tokens.insert(spec.tokens.end(), {"<|im_start|>", "<|im_end|>"});
  spec.types.assign(256, text::TokenType::kNormal);
  spec.types.insert(spec.types.end(), 2, text::TokenType::kControl);
  spec.pre = "gpt-2";
  spec.bos = kFakeStart;
  spec.eos = kFakeEnd;
  auto card = std::make_shared<model::ModelCard>();
  TW_ASSIGN_OR_RETURN(card->tokenizer, text::Tokenizer::create(std::move(spec)));
  if (!chat_template.empty()) {
    TW_ASSIGN_OR_RETURN(auto parsed, text::ChatTemplate::parse(std::string(chat_template)));
    card->chat_template = std::make_shared<const text::ChatTemplate>(std::move(parsed));
    card->chat_template_source = chat_template;
  }
  card->name = "fake-model";
  card->quantization = "F32";
  card->config.architecture = "fake";
  card->config.vocab = 258;
  card->config.width = 4;
  card->config.context = 4096;
  return std::shared_ptr<const model::ModelCard>(std::move(card));
}

/// A random sentence of a grammar, ended as soon as it may (at the latest after `limit` bytes).
inline std::string random_sentence(const text::GrammarPtr& grammar, std::uint64_t seed, std::size_t limit) {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  const auto trie = std::make_shared<const text::TokenTrie>(bytes, std::vector<bool>());
  text::GrammarMatcher matcher(grammar, trie);
  std::string sentence;
  std::vector<std::uint32_t> mask(trie->mask_words());
  while (!matcher.can_end() && sentence.size() < limit) {
    matcher.fill_mask(mask);
    std::vector<std::int32_t> allowed;
    for (std::int32_t byte = 0; byte < 256; ++byte) {
      if (mask[static_cast<std::size_t>(byte) / 32] >> (byte % 32) & 1U) allowed.push_back(byte);
    }
    if (allowed.empty()) break;
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    const std::int32_t byte = allowed[(seed >> 33) % allowed.size()];
    matcher.accept(byte);
    sentence += static_cast<char>(byte);
  }
  return sentence;
}

struct FakeOptions {
  /// The answer to a prompt; requests with equal prompts may differ by sampling.seed.
  std::function<std::string(const infer::GenerateRequest&, const std::string& prompt)> answer =
      [](const infer::GenerateRequest&, const std::string&) { return std::string("Hello there!"); };
  std::chrono::microseconds token_time{100};
  std::int64_t context = 4096;
  int max_running = 4, max_waiting = 8;
  bool follow_grammars = false;             ///< a request with a grammar gets a random sentence of it
  std::string error;                        ///< not empty: every sequence fails with it after its first token
  std::function<void()> on_submit = [] {};  ///< called first by submit
  std::function<base::Result<std::shared_ptr<const model::Adapter>>(const std::string& folder)> load_adapter =
      [](const std::string& folder) -> base::Result<std::shared_ptr<const model::Adapter>> {
    return base::Error{base::Code::kNotFound, "there is no such file", folder};
  };
};

class FakeEngine : public infer::Engine {
 public:
  explicit FakeEngine(FakeOptions options = {}) : options_(std::move(options)), thread_([this] { loop(); }) {}
  ~FakeEngine() override { stop(); }

  base::Result<infer::Ticket> submit(infer::GenerateRequest request, infer::Sink sink) override {
    options_.on_submit();
    std::lock_guard lock(mutex_);
    if (stopping_) return base::error(base::Code::kUnavailable, "stopping");
    if (request.prompt.empty()) return base::error(base::Code::kInvalidArgument, "the prompt is empty");
    if (running_.size() + waiting_.size() >=
        static_cast<std::size_t>(options_.max_running + options_.max_waiting)) {
      return base::error(base::Code::kResourceExhausted, "the queue is full");
    }
    last_request_ = request;
    waiting_.push_back(begin(std::move(request), std::move(sink)));
    wake_.notify_all();
    return waiting_.back()->ticket;
  }

  void cancel(infer::Ticket ticket) override {
    std::lock_guard lock(mutex_);
    cancelled_.push_back(ticket);
    wake_.notify_all();
  }

  base::Result<std::shared_ptr<const model::Adapter>> load_adapter(const std::string& folder) const override {
    return options_.load_adapter(folder);
  }

  infer::EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    infer::EngineStats stats = stats_;
    stats.cache = {16, 1000, 1 << 20, 64, base::DType::kI8, true};
    stats.running = static_cast<std::int64_t>(running_.size());
    stats.waiting = static_cast<std::int64_t>(waiting_.size());
    stats.most_running = options_.max_running;
    const auto tell = [](const std::deque<SequencePtr>& sequences, std::set<std::string>& names) {
      for (const SequencePtr& s : sequences) {
        if (s->request.adapter != nullptr) names.insert(s->request.adapter_name);
      }
    };
    tell(running_, stats.running_adapters);
    tell(waiting_, stats.waiting_adapters);
    return stats;
  }
  std::int64_t context() const override { return options_.context; }
  std::string description() const override { return "fake"; }

  void stop() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

  /// While held no token is made; cancelling still works.
  void hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    wake_.notify_all();
  }
  infer::GenerateRequest last_request() const {
    std::lock_guard lock(mutex_);
    return last_request_;
  }

 private:
  struct Sequence {
    infer::Ticket ticket = 0;
    infer::GenerateRequest request;
    infer::Sink sink;
    std::string answer, stop_text;
    std::size_t done = 0, shown = 0;
    bool at_length = false;
    infer::Timings timings;
  };
  using SequencePtr = std::unique_ptr<Sequence>;

  SequencePtr begin(infer::GenerateRequest request, infer::Sink sink) {
    auto s = std::make_unique<Sequence>();
    s->ticket = ++last_ticket_;
    std::string prompt;
    for (const std::int32_t id : request.prompt) {
      if (id < 256)
        prompt += static_cast<char>(id);
      else
        prompt += id == kFakeStart ? "<|im_start|>" : "<|im_end|>";
    }
    if (options_.follow_grammars && request.grammar != nullptr) {
      s->answer = random_sentence(request.grammar, request.sampling.seed,
                                  static_cast<std::size_t>(request.max_tokens));
    } else if (request.max_tokens > 0 && !request.embed) {
      s->answer = options_.answer(request, prompt);
    }
    for (const std::string& stop : request.stop) {
      if (const std::size_t at = s->answer.find(stop); at != std::string::npos) {
        s->answer.resize(at);
        s->stop_text = stop;
      }
    }
    s->at_length = request.max_tokens == 0 || s->answer.size() > static_cast<std::size_t>(request.max_tokens);
    if (s->at_length) s->answer.resize(static_cast<std::size_t>(request.max_tokens));
    s->timings.arrived = infer::Clock::now();
    s->request = std::move(request);
    s->sink = std::move(sink);
    return s;
  }

  /// The next token of a sequence, or its end.
  infer::Chunk advance(Sequence& s) {
    infer::Chunk chunk;
    if (s.done == 0 && s.request.prompt_logprobs) add_prompt_logprobs(s, chunk);
    if (s.done < s.answer.size()) {
      const std::int32_t token = static_cast<unsigned char>(s.answer[s.done++]);
      if (s.done == 1) s.timings.first_token = infer::Clock::now();
      chunk.tokens.push_back(token);
      if (s.request.logprobs >= 0) chunk.logprobs.push_back(logprob(token, s.request.logprobs));
    }
    const bool ends = s.done == s.answer.size();
    const std::string_view seen = std::string_view(s.answer).substr(s.shown, s.done - s.shown);
    chunk.text = base::sanitize_utf8(seen.substr(0, ends ? seen.size() : base::complete_utf8_prefix(seen)));
    s.shown += ends ? seen.size() : base::complete_utf8_prefix(seen);
    if (ends)
      finish(s, chunk, s.at_length ? infer::FinishReason::kLength : infer::FinishReason::kStop);
    else if (!options_.error.empty())
      finish(s, chunk, infer::FinishReason::kError);
    set_counts(s, chunk);
    return chunk;
  }

  void finish(Sequence& s, infer::Chunk& chunk, infer::FinishReason reason) const {
    chunk.finish = reason;
    chunk.error = options_.error;
    chunk.grammar_failed = reason == infer::FinishReason::kError && s.request.grammar != nullptr;
    if (reason == infer::FinishReason::kStop) chunk.stop_text = s.stop_text;
    if (s.request.embed) chunk.embedding = {3, 0, 4, static_cast<float>(s.request.prompt.size() % 2) * 0};
    s.timings.finished = infer::Clock::now();
    chunk.timings = s.timings;
  }

  static void set_counts(const Sequence& s, infer::Chunk& chunk) {
    chunk.prompt_tokens = static_cast<std::int64_t>(s.request.prompt.size());
    chunk.generated_tokens = static_cast<std::int64_t>(s.done);
    chunk.cached_tokens = chunk.prompt_tokens / 16 * 16;
  }

  static infer::TokenLogprob logprob(std::int32_t token, int top) {
    infer::TokenLogprob made{token, -0.25F, {}};
    for (int i = 0; i < top; ++i) made.top.emplace_back((token + i) % 256, -0.25F - static_cast<float>(i));
    return made;
  }

  static void add_prompt_logprobs(const Sequence& s, infer::Chunk& chunk) {
    for (std::size_t i = 0; i < s.request.prompt.size(); ++i) {
      chunk.prompt_logprobs.emplace_back();
      if (i > 0) chunk.prompt_logprobs.back() = logprob(s.request.prompt[i], s.request.logprobs);
    }
  }

  void loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      wake_.wait(lock, [this] {
        return stopping_ || !cancelled_.empty() || (!held_ && (!waiting_.empty() || !running_.empty()));
      });
      drop_cancelled(lock);
      if (!held_) step(lock);
    }
    for (auto* list : {&running_, &waiting_}) {
      for (const SequencePtr& s : *list) abort(*s, lock);
      list->clear();
    }
  }

  void step(std::unique_lock<std::mutex>& lock) {
    while (!waiting_.empty() && running_.size() < static_cast<std::size_t>(options_.max_running)) {
      running_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
      running_.back()->timings.scheduled = infer::Clock::now();
    }
    for (std::size_t i = 0; i < running_.size();) {
      Sequence& s = *running_[i];
      const infer::Chunk chunk = advance(s);
      ++stats_.generated_tokens;
      send(s, chunk, lock);
      if (chunk.finish)
        running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
    }
    ++stats_.steps;
    if (running_.empty()) return;
    lock.unlock();
    std::this_thread::sleep_for(options_.token_time);
    lock.lock();
  }

  void drop_cancelled(std::unique_lock<std::mutex>& lock) {
    for (const infer::Ticket ticket : std::exchange(cancelled_, {})) {
      for (auto* list : {&running_, &waiting_}) {
        const auto at =
            std::ranges::find_if(*list, [&](const SequencePtr& s) { return s->ticket == ticket; });
        if (at == list->end()) continue;
        const SequencePtr dropped = std::move(*at);
        list->erase(at);
        abort(*dropped, lock);
      }
    }
  }

  void abort(Sequence& s, std::unique_lock<std::mutex>& lock) {
    infer::Chunk chunk;
    finish(s, chunk, infer::FinishReason::kAborted);
    set_counts(s, chunk);
    send(s, chunk, lock);
  }

  /// Sinks are called without the lock, as the real engine does: they may wait for a thread that is in
  /// submit().
  static void send(const Sequence& s, const infer::Chunk& chunk, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    s.sink(chunk);
    lock.lock();
  }

  const FakeOptions options_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::deque<SequencePtr> waiting_, running_;
  std::vector<infer::Ticket> cancelled_;
  infer::EngineStats stats_;
  infer::GenerateRequest last_request_;
  infer::Ticket last_ticket_ = 0;
  bool held_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace tw::serve
