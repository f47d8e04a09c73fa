#include "base/run_delay.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace tw::base {

RunDelay::~RunDelay() {
  if (file_ >= 0) ::close(file_);
}

std::chrono::nanoseconds RunDelay::total() {
  if (file_ == kUnopened) file_ = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  // "time running, time waiting, time slices", in nanoseconds.
  char text[96];
  const ssize_t length = file_ < 0 ? -1 : ::pread(file_, text, sizeof(text) - 1, 0);
  if (length <= 0) return {};
  text[length] = 0;
  const char* second = std::strchr(text, ' ');
  return std::chrono::nanoseconds(second == nullptr ? 0 : std::strtoll(second, nullptr, 10));
}

}  // namespace tw::base
