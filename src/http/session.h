// One connection: reads requests, hands them to handlers, writes their answers. Internal to src/http.
// Everything runs on the I/O thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "http/asio.h"
#include "http/context.h"
#include "http/exchange.h"
#include "http/message.h"
#include "http/transport.h"

namespace tw::http {

/// One coroutine (run) reads: always, also while an answer is under way, which is how a client that leaves is
/// noticed. Writes are callbacks (pump): at most one is pending. A connection has at most one exchange at a
/// time, so pipelined requests wait in the buffer.
class Session : public std::enable_shared_from_this<Session> {
 public:
  using Clock = std::chrono::steady_clock;

  Session(std::unique_ptr<Transport> transport, asio::io_context& io, std::shared_ptr<ServerContext> context,
          std::string remote);

  /// Starts the reader; `closed` is called once, at its end.
  void start(asio::io_context& io, std::function<void()> closed);
  /// Closes at once; an exchange in flight is cancelled.
  void close();
  bool idle() const { return phase_ == Phase::kIdle; }
  /// A request is complete, and its answer is not.
  bool answering() const { return phase_ == Phase::kExchange; }
  /// When it became idle, began to send its header or its body, ...
  Clock::time_point phase_start() const { return phase_start_; }
  /// Enforces the time limits; called a few times a second.
  void check_deadlines(Clock::time_point now);

 private:
  // kIdle: between requests. kClosing: the last answer left, what the client still sends is thrown away,
  // because closing with unread bytes would reset the connection and could destroy that answer.
  enum class Phase { kHandshake, kIdle, kHeader, kBody, kExchange, kClosing };

  asio::awaitable<void> run();
  asio::awaitable<bool> serve_one();
  asio::awaitable<bool> read_header(RequestParser& parser);
  asio::awaitable<bool> read_body(RequestParser& parser);
  asio::awaitable<bool> fill();
  asio::awaitable<void> watch_client();
  asio::awaitable<void> linger();
  asio::awaitable<void> pause(std::chrono::milliseconds time);

  void enter(Phase phase, std::chrono::seconds limit);
  bool feed(RequestParser& parser);
  void prepare(RequestParser& parser);
  bool admit(RequestParser& parser, Router::Match& match);
  Response preflight(const Request& request, const std::string& allow) const;
  std::shared_ptr<ExchangeCore> begin_exchange(Request request, ExchangeCore::Traits traits);
  void answer(RequestParser& parser, const Response& response);
  void fail(Request request, int status, std::string_view message);
  void call(const Handler& handler, std::shared_ptr<ExchangeCore> core);

  void pump();
  void write_slice();
  void slice_written(bool ok, std::size_t size);
  void finish_exchange(bool complete);

  const std::unique_ptr<Transport> transport_;
  const std::shared_ptr<ServerContext> context_;
  const std::string remote_;
  asio::steady_timer wake_reader_;

  bool open_ = true;
  bool closing_ = false;  // no further request is read
  Phase phase_ = Phase::kHandshake;
  Clock::time_point phase_start_ = Clock::now();
  Clock::time_point read_deadline_ = Clock::time_point::max();
  Clock::time_point write_deadline_ = Clock::time_point::max();

  std::string chunk_;   // where reads land
  std::string buffer_;  // read, not yet consumed
  std::shared_ptr<ExchangeCore> exchange_;
  Clock::time_point exchange_start_;
  std::size_t request_bytes_ = 0;
  std::size_t response_bytes_ = 0;

  std::string prelude_;  // "100 Continue", before the exchange begins
  std::string out_;      // being written
  std::size_t out_offset_ = 0;
  bool out_is_answer_ = false;
  bool out_is_last_ = false;
  bool writing_ = false;
};

}  // namespace tw::http
