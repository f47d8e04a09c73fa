#include "http/exchange.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "http/text.h"

namespace tw::http {

Exchange::Exchange(std::shared_ptr<ExchangeCore> core) : core_(std::move(core)) {}
Exchange::~Exchange() {
  core_->abandon();
}
const Request& Exchange::request() const {
  return core_->request();
}
void Exchange::respond(const Response& response) {
  core_->respond(response);
}
void Exchange::begin_stream(int status, const std::string& content_type, const std::vector<Header>& headers) {
  core_->begin_stream(status, content_type, headers);
}
bool Exchange::write(const std::string& chunk) {
  return core_->write(chunk);
}
void Exchange::end_stream() {
  core_->end_stream();
}
void Exchange::on_cancel(std::function<void()> callback) {
  core_->on_cancel(std::move(callback));
}
bool Exchange::cancelled() const {
  return core_->cancelled();
}

ExchangeCore::ExchangeCore(Request request, Traits traits, std::shared_ptr<ServerContext> context,
                           std::function<void()> wake)
    : request_(std::move(request)), context_(std::move(context)), wake_(std::move(wake)), traits_(traits) {}

/// Under the lock: whether the caller must call wake_ after it lets go.
bool ExchangeCore::wake_needed() {
  return !std::exchange(wake_posted_, true);
}

std::string ExchangeCore::make_head(int status, const std::string& content_type,
                                    const std::vector<Header>& headers, const std::string& length_header) {
  closes_ = !traits_.keep_alive || context_->draining || (traits_.streaming && traits_.http10);
  status_ = status;
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, reason_phrase(status));
  const std::string& server = context_->options.server_name;
  if (!server.empty()) append_header(head, "Server", server);
  if (!content_type.empty()) append_header(head, "Content-Type", content_type);
  if (!request_.id.empty()) append_header(head, "X-Request-Id", request_.id);
  if (const std::string origin = context_->allowed_origin(request_); !origin.empty()) {
    append_header(head, "Access-Control-Allow-Origin", origin);
    append_header(head, "Access-Control-Expose-Headers", "*");
    if (origin != "*") append_header(head, "Vary", "Origin");
  }
  for (const Header& header : headers) append_header(head, header.name, header.value);
  if (closes_)
    head += "Connection: close\r\n";
  else if (traits_.http10)
    head += "Connection: keep-alive\r\n";
  return head + length_header + "\r\n";
}

void ExchangeCore::respond(const Response& response) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    TW_CHECK(state_ == State::kWaiting, "an exchange is answered once");
    state_ = State::kEnded;
    const bool bodiless = response.status == 204 || response.status == 304;
    const std::string length = bodiless ? "" : fmt::format("Content-Length: {}\r\n", response.body.size());
    pending_ = make_head(response.status, bodiless ? "" : response.content_type, response.headers, length);
    if (!traits_.head && !bodiless) pending_ += response.body;
    wake = wake_needed();
  }
  if (wake) wake_();
}

void ExchangeCore::begin_stream(int status, const std::string& content_type,
                                const std::vector<Header>& headers) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    TW_CHECK(state_ == State::kWaiting, "an exchange is answered once");
    state_ = State::kStreaming;
    traits_.streaming = true;
    pending_ = make_head(status, content_type, headers, chunked() ? "Transfer-Encoding: chunked\r\n" : "");
    wake = wake_needed();
  }
  if (wake) wake_();
}

void ExchangeCore::append_chunk(const std::string& chunk) {
  if (traits_.head || chunk.empty()) return;  // an empty chunk would end the answer
  if (chunked()) pending_ += fmt::format("{:x}\r\n", chunk.size());
  pending_ += chunk;
  if (chunked()) pending_ += "\r\n";
}

bool ExchangeCore::write(const std::string& chunk) {
  bool wake = false;
  bool accepted = true;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || overflowed_) return false;
    TW_CHECK(state_ == State::kStreaming, "write comes between begin_stream and end_stream");
    append_chunk(chunk);
    if (pending_.size() + in_flight_ > context_->options.max_backlog) {
      overflowed_ = true;
      accepted = false;
    }
    // A connection stuck in a write takes nothing, so an earlier wake may still stand; this one is heard
    // anyway.
    wake = wake_needed() || !accepted;
  }
  if (wake) wake_();
  return accepted;
}

void ExchangeCore::end_stream() {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || overflowed_) return;
    TW_CHECK(state_ == State::kStreaming, "end_stream comes once, after begin_stream");
    state_ = State::kEnded;
    if (chunked() && !traits_.head) pending_ += "0\r\n\r\n";
    wake = wake_needed();
  }
  if (wake) wake_();
}

void ExchangeCore::on_cancel(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (completed_) return;
    if (!cancelled_) {
      on_cancel_ = std::move(callback);
      return;
    }
  }
  context_->gate.post(std::move(callback));
}

bool ExchangeCore::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_ || overflowed_;
}

void ExchangeCore::abandon() {
  bool unanswered = false;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || state_ == State::kEnded) return;
    unanswered = state_ == State::kWaiting;
  }
  if (unanswered) return respond(context_->error_response(500, "the request was dropped without an answer"));
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    wake = wake_needed();
  }
  if (wake) wake_();
}

ExchangeCore::Taken ExchangeCore::take() {
  const std::lock_guard lock(mutex_);
  wake_posted_ = false;
  in_flight_ += pending_.size();
  return Taken{std::exchange(pending_, {}), state_ == State::kEnded, abandoned_};
}

bool ExchangeCore::overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

void ExchangeCore::sent(std::size_t n) {
  const std::lock_guard lock(mutex_);
  in_flight_ -= n;
}

void ExchangeCore::cancel() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || completed_) return;
    cancelled_ = true;
    pending_.clear();
    callback = std::exchange(on_cancel_, nullptr);
  }
  if (callback) callback();
}

void ExchangeCore::complete() {
  std::function<void()> dropped;  // destroyed outside the lock: it may own the last Exchange
  const std::lock_guard lock(mutex_);
  completed_ = true;
  dropped.swap(on_cancel_);
}

bool ExchangeCore::closes() const {
  const std::lock_guard lock(mutex_);
  return closes_;
}

int ExchangeCore::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace tw::http
