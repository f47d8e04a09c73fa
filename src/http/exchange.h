// The two sides of an exchange: answers come from any thread, bytes leave on the I/O thread. Internal to
// src/http.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "http/context.h"
#include "http/server.h"

namespace tw::http {

/// The mailbox between the threads that answer and the connection. The answering side frames its bytes (head,
/// chunks) into one pending string, so the I/O thread only moves them.
class ExchangeCore : public std::enable_shared_from_this<ExchangeCore> {
 public:
  struct Traits {
    bool head = false;       ///< no body is sent
    bool http10 = false;     ///< no chunks
    bool keep_alive = true;  ///< what the request allows
    bool streaming = false;  ///< set by begin_stream
  };
  /// `wake` tells the connection that there is something to take; called on any thread.
  ExchangeCore(Request request, Traits traits, std::shared_ptr<ServerContext> context,
               std::function<void()> wake);

  // Any thread: see Exchange.
  const Request& request() const { return request_; }
  void respond(const Response& response);
  void begin_stream(int status, const std::string& content_type, const std::vector<Header>& headers);
  bool write(const std::string& chunk);
  void end_stream();
  void on_cancel(std::function<void()> callback);
  bool cancelled() const;
  /// The last Exchange is gone: answers for it if nobody did.
  void abandon();

  // I/O thread.
  struct Taken {
    std::string bytes;
    bool last = false;   ///< the answer ends with these bytes
    bool abort = false;  ///< close the connection after these bytes: the stream was abandoned
  };
  Taken take();
  /// The client reads too slowly: close the connection at once.
  bool overflowed() const;
  /// `n` of the taken bytes have left.
  void sent(std::size_t n);
  /// The client is gone: runs the cancel callback, unless the answer was complete. Idempotent.
  void cancel();
  /// The answer has left entirely. Frees the callback.
  void complete();
  /// Whether the connection must close after this answer. Valid once the answer began.
  bool closes() const;
  /// The status that was answered; 499 when none was.
  int status() const;

 private:
  enum class State { kWaiting, kStreaming, kEnded };

  std::string make_head(int status, const std::string& content_type, const std::vector<Header>& headers,
                        const std::string& length_header);
  bool chunked() const { return traits_.streaming && !traits_.http10; }
  void append_chunk(const std::string& chunk);
  bool wake_needed();

  const Request request_;
  const std::shared_ptr<ServerContext> context_;
  const std::function<void()> wake_;

  mutable std::mutex mutex_;  // guards all below
  Traits traits_;
  State state_ = State::kWaiting;
  bool cancelled_ = false;
  bool overflowed_ = false;
  bool abandoned_ = false;
  bool completed_ = false;
  bool wake_posted_ = false;
  bool closes_ = false;
  int status_ = 499;
  std::string pending_;
  std::size_t in_flight_ = 0;  // taken, not yet sent
  std::function<void()> on_cancel_;
};

}  // namespace tw::http
