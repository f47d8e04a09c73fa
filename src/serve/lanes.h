// The threads that prepare requests. Parsing, chat templates, tokenizing and compiling grammars take seconds
// when somebody sends megabytes or a huge schema: on the I/O thread that would hold up every stream and
// health check. Internal to src/serve.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace tw::serve {

/// Two threads: one for requests with small bodies and one for the rest, so that large requests wait for each
/// other and not the others for them. First come, first served in each. Thread-safe.
class Lanes {
 public:
  static constexpr std::size_t kLargeBody = std::size_t{64} << 10;

  /// `limit` jobs may wait in each lane.
  explicit Lanes(std::size_t limit);
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;
  ~Lanes() { stop(); }

  /// False, and `job` is dropped: the lane is full, or has stopped. Jobs do not throw.
  bool post(std::size_t body_bytes, std::function<void()> job);

  /// Waits for the jobs that run and drops those that wait. Idempotent; not for a job to call.
  void stop();

 private:
  struct Lane {
    std::mutex mutex;  // guards jobs and stopping
    std::condition_variable wake;
    std::deque<std::function<void()>> jobs;
    bool stopping = false;
    std::thread thread;
  };

  static void run(Lane& lane);

  const std::size_t limit_;
  std::array<Lane, 2> lanes_;
};

}  // namespace tw::serve
