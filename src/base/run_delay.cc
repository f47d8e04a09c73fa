#include "base/run_delay.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace tw::base {
namespace {

/// Kept open by each thread.
struct Schedstat {
  int file = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  ~Schedstat() {
    if (file >= 0) ::close(file);
  }
};

}  // namespace

std::chrono::nanoseconds run_delay() {
  thread_local const Schedstat stat;
  // "time running, time waiting, time slices", in nanoseconds.
  char text[96];
  const ssize_t length = ::pread(stat.file, text, sizeof(text) - 1, 0);
  if (length <= 0) return {};
  text[length] = 0;
  const char* second = std::strchr(text, ' ');
  return std::chrono::nanoseconds(second == nullptr ? 0 : std::strtoll(second, nullptr, 10));
}

}  // namespace tw::base
