// What all connections of one server share. Internal to src/http.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "http/router.h"
#include "http/server.h"

namespace tw::http {

/// Hands work to the I/O thread, until the server has ended. Thread-safe; outlives the server, because
/// exchanges held by other threads do.
class Gate {
 public:
  using Post = std::function<void(std::function<void()>)>;

  void open(Post post) {
    const std::lock_guard lock(mutex_);
    post_ = std::move(post);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    post_ = nullptr;
  }
  /// Drops the work when closed.
  void post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    if (post_) post_(std::move(work));
  }

 private:
  std::mutex mutex_;
  Post post_;  // guarded by mutex_
};

/// Counts exchanges in flight. Thread-safe.
class InFlight {
 public:
  void add(int change) {
    const std::lock_guard lock(mutex_);
    count_ += change;
    if (count_ == 0) idle_.notify_all();
  }
  bool wait_idle(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, timeout, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  int count_ = 0;  // guarded by mutex_
};

/// Everything but the atomics, the gate and in_flight is constant after start().
struct ServerContext {
  ServerContext();

  ServerOptions options;
  Router router;
  ErrorBody error_body;
  Filter filter;
  Observer observer;
  std::atomic<bool> draining{false};
  Gate gate;
  InFlight in_flight;
  std::atomic<std::uint64_t> next_id;

  /// 16 hex digits, unique within this server and most likely among servers.
  std::string make_request_id();
  Response error_response(int status, std::string_view message) const;
  /// The CORS header to answer this request's Origin with; empty: none.
  std::string allowed_origin(const Request& request) const;
};

}  // namespace tw::http
