#include "cli/chat.h"

#include <condition_variable>
#include <cstdio>
#include <mutex>

namespace tw::cli {
namespace {

/// Hands chunks from the engine's thread to the one that prints.
class ChunkQueue {
 public:
  void push(const infer::Chunk& chunk) {
    std::lock_guard lock(mutex_);
    chunks_.push_back(chunk);
    wake_.notify_one();
  }
  /// All chunks so far, or none after 50 ms, so that the caller can look at the keyboard.
  std::vector<infer::Chunk> take() {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::milliseconds(50), [&] { return !chunks_.empty(); });
    return std::exchange(chunks_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<infer::Chunk> chunks_;
};

double seconds_between(infer::Clock::time_point from, infer::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

void Chat::clear() {
  messages_ = base::OrderedJson::array();
}

base::Result<std::vector<std::int32_t>> Chat::prompt(const std::string& text) const {
  const model::ModelCard& card = model_.card();
  base::OrderedJson messages = base::OrderedJson::array();
  if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
  messages.insert(messages.end(), messages_.begin(), messages_.end());
  messages.push_back({{"role", "user"}, {"content", text}});
  if (card.chat_template == nullptr) {
    std::string lines;
    for (const auto& message : messages)
      lines += (lines.empty() ? "" : "\n") + message["content"].get<std::string>();
    return card.tokenizer->encode(lines, {.add_special = true, .parse_special = false});
  }
  base::OrderedJson context{{"messages", std::move(messages)}, {"add_generation_prompt", true}};
  const auto special = [&](std::optional<text::TokenId> id) {
    return id ? card.tokenizer->piece(*id) : std::string();
  };
  context["bos_token"] = special(card.tokenizer->bos());
  context["eos_token"] = special(card.tokenizer->eos());
  TW_ASSIGN_OR_RETURN(const std::string rendered, card.chat_template->render(context));
  // The template writes the special tokens that the model was trained with, BOS too; serve holds it the same.
  return card.tokenizer->encode(rendered, {.add_special = false, .parse_special = true});
}

base::Status Chat::answer(const std::string& text, const std::function<bool()>& interrupted) {
  infer::GenerateRequest request;
  TW_ASSIGN_OR_RETURN(request.prompt, prompt(text));
  request.sampling = sampling_;
  request.max_tokens = max_tokens_ > 0 ? max_tokens_ : engine_.context();
  auto queue = std::make_shared<ChunkQueue>();
  TW_ASSIGN_OR_RETURN(const infer::Ticket ticket,
                      engine_.submit(std::move(request), [queue](const infer::Chunk& c) { queue->push(c); }));
  std::string answer, error;
  last_ = {};
  for (bool running = true; running;) {
    for (const infer::Chunk& chunk : queue->take()) {
      std::fwrite(chunk.text.data(), 1, chunk.text.size(), stdout);
      std::fflush(stdout);
      answer += chunk.text;
      if (!chunk.finish) continue;
      running = false;
      error = chunk.error;
      const infer::Timings& t = chunk.timings;
      last_ = {chunk.prompt_tokens,
               chunk.cached_tokens,
               chunk.generated_tokens,
               seconds_between(t.arrived, t.first_token),
               seconds_between(t.first_token, t.finished),
               chunk.finish};
    }
    // An answer that nobody can read is not worth its time; main reports the failed write.
    if (running && (interrupted() || std::ferror(stdout) != 0)) engine_.cancel(ticket);
  }
  std::printf("\n");
  if (!error.empty()) return base::Error{base::Code::kInternal, error, {}};
  messages_.push_back({{"role", "user"}, {"content", text}});
  messages_.push_back({{"role", "assistant"}, {"content", answer}});
  return base::Ok{};
}

}  // namespace tw::cli
