#include "http/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "http/text.h"

namespace tw::http {
namespace {

constexpr std::size_t kReadBytes = std::size_t{16} << 10;
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::milliseconds kPollTime{50};

}  // namespace

Session::Session(std::unique_ptr<Transport> transport, asio::io_context& io,
                 std::shared_ptr<ServerContext> context, std::string remote)
    : transport_(std::move(transport)),
      context_(std::move(context)),
      remote_(std::move(remote)),
      wake_reader_(io) {
  chunk_.resize(kReadBytes);
}

void Session::start(asio::io_context& io, std::function<void()> closed) {
  enter(Phase::kHandshake, context_->options.header_timeout);
  auto done = [self = shared_from_this(), closed = std::move(closed)](const std::exception_ptr& problem) {
    if (problem) spdlog::error("http: a connection of {} failed unexpectedly", self->remote_);
    self->close();
    closed();
  };
  asio::co_spawn(io, run(), std::move(done));
}

void Session::enter(Phase phase, std::chrono::seconds limit) {
  phase_ = phase;
  phase_start_ = Clock::now();
  read_deadline_ = limit == std::chrono::seconds::max() ? Clock::time_point::max() : phase_start_ + limit;
}

void Session::close() {
  if (!open_) return;
  open_ = false;
  transport_->close();
  wake_reader_.cancel();
  if (exchange_) finish_exchange(false);
}

void Session::check_deadlines(Clock::time_point now) {
  if (writing_ && now > write_deadline_) return close();
  if (now <= read_deadline_) return;
  read_deadline_ = Clock::time_point::max();
  if (phase_ == Phase::kHeader || phase_ == Phase::kBody) {
    fail(Request{}, 408, "the request took too long to arrive");
  } else if (phase_ != Phase::kExchange) {
    close();
  }
}

asio::awaitable<void> Session::run() {
  const error_code ec = co_await transport_->handshake();
  if (ec || !open_) co_return;
  enter(Phase::kIdle, context_->options.header_timeout);
  bool more = true;
  while (more) more = co_await serve_one();
  co_await linger();
}

/// Reads into the buffer. False when the client has closed, or the connection is to be used no more.
asio::awaitable<bool> Session::fill() {
  if (!open_) co_return false;
  const std::size_t n = co_await transport_->read_some(chunk_.data(), chunk_.size());
  if (n == 0 || !open_) co_return false;
  buffer_.append(chunk_.data(), n);
  co_return !closing_;
}

/// Feeds what is buffered. False after answering a malformed request.
bool Session::feed(RequestParser& parser) {
  const std::size_t n = parser.feed(buffer_);
  buffer_.erase(0, n);
  request_bytes_ += n;
  if (parser.error_status() == 0 && buffer_.size() <= context_->options.max_header_bytes + kReadBytes)
    return true;
  const int status = parser.error_status() != 0 ? parser.error_status() : 400;
  const std::string message = parser.error_status() != 0 ? parser.error_message() : "malformed chunks";
  prepare(parser);
  fail(std::move(parser.request()), status, message);
  return false;
}

asio::awaitable<bool> Session::read_header(RequestParser& parser) {
  request_bytes_ = response_bytes_ = 0;
  while (true) {
    if (!buffer_.empty()) {
      if (phase_ != Phase::kHeader) enter(Phase::kHeader, context_->options.header_timeout);
      if (!feed(parser)) co_return false;
      if (parser.header_done()) co_return true;
    }
    const bool more = co_await fill();
    if (!more) co_return false;
  }
}

asio::awaitable<bool> Session::read_body(RequestParser& parser) {
  enter(Phase::kBody, context_->options.body_timeout);
  if (parser.expects_continue() && buffer_.empty()) {
    prelude_ = "HTTP/1.1 100 Continue\r\n\r\n";
    pump();
  }
  while (true) {
    if (!feed(parser)) co_return false;
    if (parser.done()) co_return true;
    const bool more = co_await fill();
    if (!more) co_return false;
  }
}

/// Fills in what does not come from the parser.
void Session::prepare(RequestParser& parser) {
  Request& request = parser.request();
  request.remote = remote_;
  const std::string* id = request.header("X-Request-Id");
  request.id = id != nullptr && is_sane_request_id(*id) ? *id : context_->make_request_id();
}

/// One request from the first byte to the end of its answer. False when it was the connection's last.
asio::awaitable<bool> Session::serve_one() {
  RequestParser parser(context_->options.max_header_bytes, context_->options.max_body_bytes);
  bool ready = co_await read_header(parser);
  if (!ready) co_return false;
  prepare(parser);
  Router::Match match;
  if (admit(parser, match)) {
    if (!parser.done()) ready = co_await read_body(parser);
    if (!ready) co_return false;
    ExchangeCore::Traits traits;
    traits.head = parser.request().method == "HEAD";
    traits.http10 = parser.http10();
    traits.keep_alive = parser.keep_alive();
    call(*match.handler, begin_exchange(std::move(parser.request()), traits));
  }
  co_await watch_client();
  co_return open_ && !closing_;
}

/// Filter and routing, before the body is read. False when the request was answered here.
bool Session::admit(RequestParser& parser, Router::Match& match) {
  const Request& request = parser.request();
  match = context_->router.find(request.method, request.path);
  if (request.method == "OPTIONS" && match.handler == nullptr && !context_->options.cors_origin.empty()) {
    answer(parser, preflight(request, match.allow));
    return false;
  }
  if (context_->filter) {
    if (std::optional<Response> refusal = context_->filter(request)) {
      answer(parser, *refusal);
      return false;
    }
  }
  if (match.handler != nullptr) return true;
  Response response = context_->error_response(
      match.status, match.status == 404 ? fmt::format("there is nothing at {}", request.path)
                                        : fmt::format("{} does not take {}: use {}", request.path,
                                                      request.method, match.allow));
  if (match.status == 405) response.headers.push_back({"Allow", match.allow});
  answer(parser, response);
  return false;
}

Response Session::preflight(const Request& request, const std::string& allow) const {
  Response response;
  response.status = 204;
  response.headers.push_back({"Access-Control-Allow-Methods", allow.empty() ? "GET, HEAD, POST" : allow});
  const std::string* wanted = request.header("Access-Control-Request-Headers");
  response.headers.push_back(
      {"Access-Control-Allow-Headers", wanted != nullptr ? *wanted : "Authorization, Content-Type"});
  response.headers.push_back({"Access-Control-Max-Age", "600"});
  return response;
}

/// Answers before the body was read; if there is one, the connection ends, since its bytes cannot be skipped.
void Session::answer(RequestParser& parser, const Response& response) {
  ExchangeCore::Traits traits;
  traits.head = parser.request().method == "HEAD";
  traits.http10 = parser.http10();
  traits.keep_alive = parser.keep_alive() && !parser.has_body();
  begin_exchange(std::move(parser.request()), traits)->respond(response);
}

void Session::fail(Request request, int status, std::string_view message) {
  closing_ = true;
  request.remote = remote_;
  ExchangeCore::Traits traits;
  traits.keep_alive = false;
  traits.head = request.method == "HEAD";
  begin_exchange(std::move(request), traits)->respond(context_->error_response(status, message));
}

std::shared_ptr<ExchangeCore> Session::begin_exchange(Request request, ExchangeCore::Traits traits) {
  enter(Phase::kExchange, std::chrono::seconds::max());
  exchange_start_ = Clock::now();
  context_->in_flight.add(1);
  auto wake = [weak = weak_from_this(), context = context_] {
    context->gate.post([weak] {
      if (const auto self = weak.lock()) self->pump();
    });
  };
  exchange_ = std::make_shared<ExchangeCore>(std::move(request), traits, context_, std::move(wake));
  return exchange_;
}

void Session::call(const Handler& handler, std::shared_ptr<ExchangeCore> core) {
  try {
    handler(std::make_shared<Exchange>(std::move(core)));
  } catch (const std::exception& e) {  // the Exchange was dropped and so answers 500
    spdlog::error("http: a handler threw: {}", e.what());
  }
}

/// Until the exchange has ended, watches for the client leaving. Bytes that come belong to pipelined
/// requests: from then on nothing more is read, which bounds the buffer, and the kernel is asked instead.
asio::awaitable<void> Session::watch_client() {
  while (exchange_ && open_) {
    if (buffer_.empty()) {
      const bool more = co_await fill();
      if (!more && !closing_) close();
      if (!more) co_return;
    } else {
      co_await pause(kPollTime);
      if (exchange_ && open_ && transport_->peer_closed()) close();
    }
  }
}

asio::awaitable<void> Session::pause(std::chrono::milliseconds time) {
  error_code ec;
  wake_reader_.expires_after(time);
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  co_await wake_reader_.async_wait(token);
}

/// After the last answer: reads and forgets, until the client closes or the time is up (see Phase::kClosing).
asio::awaitable<void> Session::linger() {
  closing_ = true;
  bool ended = false;
  while (open_ && (exchange_ || !ended)) {
    buffer_.clear();
    if (ended) {
      co_await pause(kPollTime);
    } else {
      const std::size_t n = co_await transport_->read_some(chunk_.data(), chunk_.size());
      ended = n == 0;
    }
    if (!exchange_ && phase_ != Phase::kClosing) co_return;  // the client left between two requests
  }
}

void Session::pump() {
  if (!open_) return;
  if (exchange_ && exchange_->overflowed()) return close();
  if (writing_) return;
  if (!prelude_.empty()) {
    out_ = std::exchange(prelude_, {});
    out_is_answer_ = out_is_last_ = false;
  } else if (exchange_) {
    ExchangeCore::Taken taken = exchange_->take();
    if (taken.abort && taken.bytes.empty()) return close();
    if (taken.bytes.empty() && !taken.last) return;
    out_ = std::move(taken.bytes);
    out_is_answer_ = true;
    out_is_last_ = taken.last;
    if (out_.empty()) return finish_exchange(true);  // HTTP/1.0: nothing marks the end
  } else {
    return;
  }
  out_offset_ = 0;
  write_slice();
}

/// Writes in slices, so that the time limit is one of progress and not of size.
void Session::write_slice() {
  constexpr std::size_t kSlice = std::size_t{64} << 10;
  const std::size_t size = std::min(kSlice, out_.size() - out_offset_);
  writing_ = true;
  write_deadline_ = Clock::now() + context_->options.write_timeout;
  transport_->write(out_.data() + out_offset_, size,
                    [self = shared_from_this(), size](bool ok) { self->slice_written(ok, size); });
}

void Session::slice_written(bool ok, std::size_t size) {
  writing_ = false;
  if (!ok || !open_) return close();
  out_offset_ += size;
  if (out_is_answer_ && exchange_) {
    exchange_->sent(size);
    response_bytes_ += size;
  }
  if (out_offset_ < out_.size()) return write_slice();
  out_.clear();
  if (out_is_answer_ && out_is_last_ && exchange_) return finish_exchange(true);
  pump();
}

/// Ends the exchange, complete or cancelled, and decides what becomes of the connection.
void Session::finish_exchange(bool complete) {
  const std::shared_ptr<ExchangeCore> exchange = std::exchange(exchange_, nullptr);
  if (complete) {
    exchange->complete();
    closing_ = closing_ || exchange->closes() || context_->draining;
    if (closing_) {
      enter(Phase::kClosing, kLingerTime);
      transport_->shutdown_send();
    } else {
      enter(Phase::kIdle, context_->options.idle_timeout);
    }
    wake_reader_.cancel();
  } else {
    exchange->cancel();
  }
  if (context_->observer) {
    const double seconds = std::chrono::duration<double>(Clock::now() - exchange_start_).count();
    context_->observer(exchange->request(), exchange->status(), request_bytes_, response_bytes_, seconds);
  }
  context_->in_flight.add(-1);
}

}  // namespace tw::http
