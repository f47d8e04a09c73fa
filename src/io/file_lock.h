// A file that one process at a time holds, until it lets go or ends, however it ends.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace tw::io {

/// Owns the lock; movable. The file stays: deleting it would let two processes hold two files of that name.
class FileLock {
 public:
  /// Makes the file if it is not there, and writes this process's id into it. Fails with kUnavailable while
  /// somebody else holds it, and with kIo. A file system that knows no locks keeps nobody out.
  static base::Result<FileLock> take(const std::string& path);
  /// The id of the process that took it last; 0: not known.
  static std::int64_t holder(const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace tw::io
