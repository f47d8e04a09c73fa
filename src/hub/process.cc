#include "hub/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace tw::hub {
namespace {

using base::Code;
using base::error;

class Pipe {
 public:
  Pipe() { ok_ = ::pipe2(fds_, O_CLOEXEC) == 0; }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_writer();
    if (ok_) ::close(fds_[0]);
  }
  bool ok() const { return ok_; }
  int reader() const { return fds_[0]; }
  int writer() const { return fds_[1]; }
  void close_writer() {
    if (ok_ && fds_[1] >= 0) ::close(fds_[1]);
    fds_[1] = -1;
  }

 private:
  int fds_[2] = {-1, -1};
  bool ok_ = false;
};

/// Starts the program in a process group of its own. Returns 0 or an errno.
int spawn(const std::vector<std::string>& argv, int output, pid_t& pid) {
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  const int problem = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return problem;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Ends the program's group, politely first, and reaps the program.
void end(pid_t pid) {
  ::kill(-pid, SIGTERM);
  for (int i = 0; i < 20; ++i) {
    if (::waitpid(pid, nullptr, WNOHANG) == pid) {
      ::kill(-pid, SIGKILL);  // what is left of its children
      return;
    }
    ::usleep(100'000);
  }
  ::kill(-pid, SIGKILL);
  wait_for(pid);
}

/// Reads what is there. False at the end of the output.
bool drain(int fd, std::string& output) {
  constexpr std::size_t kKeep = std::size_t{16} << 10;
  char bytes[4096];
  const ssize_t n = ::read(fd, bytes, sizeof(bytes));
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  output.append(bytes, static_cast<std::size_t>(n));
  if (output.size() > 2 * kKeep) output.erase(0, output.size() - kKeep);
  return true;
}

}  // namespace

base::Result<ProcessResult> run_process(const std::vector<std::string>& argv, std::chrono::seconds timeout,
                                        const std::atomic<bool>* cancel, const std::function<void()>& tick) {
  TW_CHECK(!argv.empty(), "a program is named");
  Pipe pipe;
  if (!pipe.ok()) return error(Code::kIo, "cannot make a pipe: {}", std::strerror(errno));
  pid_t pid = 0;
  if (const int problem = spawn(argv, pipe.writer(), pid); problem != 0) {
    const Code code = problem == ENOENT ? Code::kNotFound : Code::kIo;
    return error(code, "cannot run {}: {}", argv[0], std::strerror(problem));
  }
  pipe.close_writer();
  ProcessResult result;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (bool more = true; more;) {
    pollfd poll{pipe.reader(), POLLIN, 0};
    if (::poll(&poll, 1, 200) > 0) more = drain(pipe.reader(), result.output);
    if (tick) tick();
    const bool cancelled = cancel != nullptr && *cancel;
    if (!cancelled && std::chrono::steady_clock::now() < deadline) continue;
    end(pid);
    if (cancelled) return error(Code::kCancelled, "{} was cancelled", argv[0]);
    return error(Code::kUnavailable, "{} took longer than {} s: check the network and try again", argv[0],
                 timeout.count());
  }
  result.exit_status = wait_for(pid);
  return result;
}

}  // namespace tw::hub
