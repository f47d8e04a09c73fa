#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/mmap.h"

namespace tw::io {
namespace {

using base::Code;
using base::Ok;
using base::Status;

constexpr std::size_t kBuffer = 1 << 20;

base::Error failed(const std::string& path, const char* what) {
  const Code code = errno == ENOSPC || errno == EDQUOT ? Code::kResourceExhausted : Code::kIo;
  return base::Error{code, fmt::format("cannot {}: {}", what, std::strerror(errno)), path};
}

}  // namespace

AtomicFile::AtomicFile(std::string path, int fd)
    : path_(std::move(path)), partial_(path_ + ".partial"), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      buffer_(std::move(other.buffer_)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(partial_.c_str());
}

base::Result<AtomicFile> AtomicFile::create(const std::string& path) {
  TW_RETURN_IF_ERROR(base::check_replaceable(path));
  const std::string partial = path + ".partial";
  const int fd = ::open(partial.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return failed(partial, "create");
  return AtomicFile(path, fd);
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBuffer) TW_RETURN_IF_ERROR(flush());
  if (bytes.size() > kBuffer) return write_out(bytes);
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return Ok{};
}

Status AtomicFile::flush() {
  const std::string buffer = std::exchange(buffer_, {});
  return write_out(std::as_bytes(std::span(buffer)));
}

Status AtomicFile::write_out(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(partial_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Ok{};
}

Status AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  TW_CHECK(offset + bytes.size() <= size_, "write_at() does not append");
  TW_RETURN_IF_ERROR(flush());
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(partial_, "write");
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Ok{};
}

Status AtomicFile::commit() {
  TW_RETURN_IF_ERROR(flush());
  if (::fsync(fd_) != 0) return failed(partial_, "sync");
  // A full network file system may say so only now.
  if (::close(std::exchange(fd_, -1)) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0) {
    const base::Error error = failed(path_, "finish");
    ::unlink(partial_.c_str());
    return error;
  }
  return sync_folder(std::filesystem::path(path_).parent_path().string());
}

Status sync_folder(const std::string& folder) {
  const std::string name = folder.empty() ? "." : folder;
  const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(name, "open");
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;  // some file systems sync no folders
  const base::Error error = failed(name, "sync");
  ::close(fd);
  return synced ? Status(Ok{}) : Status(error);
}

}  // namespace tw::io
