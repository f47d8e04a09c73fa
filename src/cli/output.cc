#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace tw::cli {
namespace {

/// Only where SIGPIPE is ignored, as some parents leave it; else that signal has ended the program before.
bool reader_has_left() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
}

}  // namespace

int finish_output(int exit_code) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  const int reason = errno;
  if (flushed && std::ferror(stdout) == 0) return exit_code;
  if (!reader_has_left()) {
    // Of an earlier failure nothing is known but that there was one.
    std::fprintf(stderr, "tokenworks: cannot write to standard output%s%s\n", flushed ? "" : ": ",
                 flushed ? "" : std::strerror(reason));
  }
  return exit_code == 0 ? 1 : exit_code;
}

}  // namespace tw::cli
