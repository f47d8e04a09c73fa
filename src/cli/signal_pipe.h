// Signals as something to read: while the object lives, each of the given signals puts its number into a
// pipe, so that a wait for the keyboard ends and a loop can ask.
#pragma once

#include <csignal>
#include <initializer_list>
#include <utility>
#include <vector>

namespace tw::cli {

/// One at a time in a process: a handler finds the pipe by a global. All but the handler on one thread.
class SignalPipe {
 public:
  /// A signal that is ignored (by nohup, or by a shell that starts us in the background) stays so.
  explicit SignalPipe(std::initializer_list<int> signals);
  ~SignalPipe();
  SignalPipe(const SignalPipe&) = delete;
  SignalPipe& operator=(const SignalPipe&) = delete;

  /// Readable when a signal came.
  int fd() const { return read_end_; }
  /// The signal that came first and was not taken yet; 0: none.
  int take();

 private:
  int read_end_ = -1;
  std::vector<std::pair<int, struct sigaction>> old_;
};

}  // namespace tw::cli
