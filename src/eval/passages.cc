#include "eval/passages.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

namespace tw::eval {
namespace {

/// More than fill a step, fewer than the engine's queue holds.
constexpr std::size_t kTogether = 128;

struct Finished {
  std::size_t index = 0;
  std::vector<float> logprobs;
  std::optional<base::Error> error;
};

/// What the engine's thread has finished and the caller's has not taken.
class Inbox {
 public:
  void put(Finished finished) {
    std::lock_guard lock(mutex_);
    finished_.push_back(std::move(finished));
    wake_.notify_one();
  }
  Finished wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return !finished_.empty(); });
    Finished first = std::move(finished_.front());
    finished_.pop_front();
    return first;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Finished> finished_;
};

base::Error ended_early(const infer::Chunk& chunk) {
  if (*chunk.finish == infer::FinishReason::kError) return {base::Code::kInvalidArgument, chunk.error, {}};
  return {base::Code::kCancelled, "the engine was stopped", {}};
}

/// The inbox is the sink's too: the engine may still speak when the caller has gone.
base::Status submit(const Model& model, std::size_t index, Passage passage,
                    const std::shared_ptr<Inbox>& inbox) {
  infer::GenerateRequest request;
  request.prompt = std::move(passage.tokens);
  request.max_tokens = 0;
  request.prompt_logprobs = true;
  request.prompt_logprobs_from = passage.from;
  request.adapter = model.adapter;
  const auto sink = [index, inbox, logprobs = std::vector<float>()](const infer::Chunk& chunk) mutable {
    for (const auto& one : chunk.prompt_logprobs) {
      if (one) logprobs.push_back(one->logprob);
    }
    if (!chunk.finish) return;
    std::optional<base::Error> error;
    if (*chunk.finish != infer::FinishReason::kLength) error = ended_early(chunk);
    inbox->put({index, std::move(logprobs), std::move(error)});
  };
  TW_RETURN_IF_ERROR(model.engine.submit(std::move(request), sink));
  return base::Ok{};
}

}  // namespace

base::Status score_passages(const Model& model, std::size_t count,
                            const std::function<base::Result<Passage>(std::size_t)>& make,
                            const std::function<void(std::size_t, const std::vector<float>&)>& take) {
  const auto inbox = std::make_shared<Inbox>();
  std::size_t submitted = 0;
  for (std::size_t taken = 0; taken < count; ++taken) {
    for (; submitted < count && submitted - taken < kTogether; ++submitted) {
      TW_ASSIGN_OR_RETURN(Passage passage, make(submitted));
      TW_RETURN_IF_ERROR(submit(model, submitted, std::move(passage), inbox));
    }
    const Finished finished = inbox->wait();
    if (finished.error) return *finished.error;
    if (!std::ranges::all_of(finished.logprobs, [](float one) { return std::isfinite(one); }))
      return base::error(base::Code::kCorrupt,
                         "the model's log-probabilities are no numbers: its weights are damaged");
    take(finished.index, finished.logprobs);
  }
  return base::Ok{};
}

}  // namespace tw::eval
