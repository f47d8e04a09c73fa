// How long a thread has waited for a processor that another had.
#pragma once

#include <chrono>

namespace tw::base {

/// Reads /proc/thread-self/schedstat, about 2 microseconds a time.
class RunDelay {
 public:
  RunDelay() = default;
  ~RunDelay();
  RunDelay(const RunDelay&) = delete;
  RunDelay& operator=(const RunDelay&) = delete;

  /// Time the calling thread, always the same one, has been ready to run without running, in all. Zero where
  /// the kernel does not tell.
  std::chrono::nanoseconds total();

 private:
  static constexpr int kUnopened = -2;
  int file_ = kUnopened;
};

}  // namespace tw::base
