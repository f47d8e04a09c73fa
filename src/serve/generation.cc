#include "serve/generation.h"

#include <algorithm>
#include <mutex>
#include <optional>

namespace tw::serve {
namespace {

double seconds_since(infer::Clock::time_point start) {
  return std::chrono::duration<double>(infer::Clock::now() - start).count();
}

/// Shared by the sinks of its sequences. The engine may call them before submit() returns, on its own thread,
/// so chunks wait in a backlog until all sequences are in.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(std::shared_ptr<Context> context, std::size_t sequences, std::unique_ptr<AnswerWriter> writer)
      : context_(std::move(context)),
        writer_(std::move(writer)),
        last_token_(sequences, infer::Clock::now()),
        has_token_(sequences, false) {}

  infer::Sink sink(std::size_t sequence) {
    return [self = shared_from_this(), sequence](const infer::Chunk& chunk) { self->take(sequence, chunk); };
  }

  void open() {
    std::lock_guard lock(mutex_);
    writer_->open();
    for (const auto& [sequence, chunk] : backlog_) writer_->chunk(sequence, chunk);
    backlog_.clear();
    state_ = State::kOpen;
  }

  /// Chunks that still come are counted, but not written.
  void close() {
    std::lock_guard lock(mutex_);
    backlog_.clear();
    state_ = State::kClosed;
  }

 private:
  enum class State { kStarting, kOpen, kClosed };

  void take(std::size_t sequence, const infer::Chunk& chunk) {
    count(sequence, chunk);
    std::lock_guard lock(mutex_);
    if (state_ == State::kStarting) backlog_.emplace_back(sequence, chunk);
    if (state_ == State::kOpen) writer_->chunk(sequence, chunk);
  }

  // Only ever called on the engine's thread: needs no lock.
  void count(std::size_t sequence, const infer::Chunk& chunk) {
    Metrics& metrics = context_->metrics();
    if (!chunk.tokens.empty()) {
      const double seconds = seconds_since(last_token_[sequence]);
      has_token_[sequence] ? metrics.next_token(seconds) : metrics.first_token(seconds);
      has_token_[sequence] = true;
      last_token_[sequence] = infer::Clock::now();
    }
    if (!chunk.finish) return;
    metrics.sequence_finished(chunk);
    longest_ = std::max(longest_, chunk.generated_tokens);
    if (++finished_ == has_token_.size()) metrics.request_finished(longest_);
  }

  const std::shared_ptr<Context> context_;
  const std::unique_ptr<AnswerWriter> writer_;
  std::vector<infer::Clock::time_point> last_token_;
  std::vector<bool> has_token_;
  std::size_t finished_ = 0;
  std::int64_t longest_ = 0;

  std::mutex mutex_;  // guards all below, and the writer
  State state_ = State::kStarting;
  std::vector<std::pair<std::size_t, infer::Chunk>> backlog_;
};

}  // namespace

void start_generation(const std::shared_ptr<Context>& context, const ModelPtr& model,
                      const ExchangePtr& exchange, std::vector<infer::GenerateRequest> requests,
                      std::unique_ptr<AnswerWriter> writer) {
  const auto generation = std::make_shared<Generation>(context, requests.size(), std::move(writer));
  std::vector<infer::Ticket> tickets;
  const auto cancel_all = [engine = model->engine](const std::vector<infer::Ticket>& all) {
    for (const infer::Ticket ticket : all) engine->cancel(ticket);
  };
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto ticket = model->engine->submit(std::move(requests[i]), generation->sink(i));
    if (!ticket.ok()) {
      generation->close();
      cancel_all(tickets);
      if (ticket.error().code == base::Code::kResourceExhausted) context->metrics().request_rejected();
      fail(exchange, ticket.error());
      return;
    }
    tickets.push_back(*ticket);
  }
  generation->open();
  exchange->on_cancel([cancel_all, tickets, context, generation] {
    generation->close();
    context->metrics().client_left();
    cancel_all(tickets);
  });
}

base::Status check_sequence_count(const Context& context, std::string_view field, std::size_t count) {
  const spec::ServeConfig& config = context.options().config;
  const auto limit = static_cast<std::size_t>(config.max_queue) + static_cast<std::size_t>(config.max_batch);
  if (count <= limit) return base::Ok{};
  return base::Error{
      base::Code::kInvalidArgument,
      fmt::format("the request asks for {} sequences, but this server holds at most {} at once: send "
                  "them in several requests",
                  count, limit),
      std::string(field)};
}

}  // namespace tw::serve
