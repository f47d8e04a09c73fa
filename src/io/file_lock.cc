#include "io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/mmap.h"

namespace tw::io {

using base::Code;

base::Result<FileLock> FileLock::take(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return base::Error{Code::kIo, fmt::format("cannot be opened: {}", std::strerror(errno)), path};
  FileLock lock(fd);
  int locked = ::flock(fd, LOCK_EX | LOCK_NB);
  while (locked != 0 && errno == EINTR) locked = ::flock(fd, LOCK_EX | LOCK_NB);
  const bool unknown = locked != 0 && (errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS);
  if (locked != 0 && !unknown) {
    const Code code = errno == EWOULDBLOCK ? Code::kUnavailable : Code::kIo;
    return base::Error{code, fmt::format("cannot be locked: {}", std::strerror(errno)), path};
  }
  // The id is for people alone: a full disk costs nobody the lock.
  const std::string id = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) == 0 && ::pwrite(fd, id.data(), id.size(), 0) < 0) errno = 0;
  return lock;
}

std::int64_t FileLock::holder(const std::string& path) {
  std::int64_t id = 0;
  if (const auto text = base::read_file(path, 100); text.ok())
    std::from_chars(text->data(), text->data() + text->size(), id);
  return id;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace tw::io
