#include "cli/signal_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace tw::cli {
namespace {

// A signal handler can reach nothing else.
volatile std::sig_atomic_t write_end = -1;

void on_signal(int number) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(number);
  // A full pipe holds thousands of signals that nobody has read: one more tells nothing new.
  [[maybe_unused]] const ssize_t written = ::write(write_end, &byte, 1);
  errno = saved;
}

}  // namespace

SignalPipe::SignalPipe(std::initializer_list<int> signals) {
  TW_CHECK(write_end == -1, "two SignalPipes at once");
  int ends[2];
  TW_CHECK(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "no pipe for signals: out of file descriptors?");
  read_end_ = ends[0];
  write_end = ends[1];
  for (const int number : signals) {
    struct sigaction action{}, old{};
    ::sigaction(number, nullptr, &old);
    if (old.sa_handler == SIG_IGN) continue;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(number, &action, nullptr);
    old_.emplace_back(number, old);
  }
}

SignalPipe::~SignalPipe() {
  for (const auto& [number, old] : old_) ::sigaction(number, &old, nullptr);
  ::close(read_end_);
  ::close(write_end);
  write_end = -1;
}

int SignalPipe::take() {
  unsigned char byte = 0;
  return ::read(read_end_, &byte, 1) == 1 ? byte : 0;
}

}  // namespace tw::cli
