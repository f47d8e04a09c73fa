#include "base/mmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

namespace tw::base {
namespace {

/// Closes a file descriptor at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Error system_error(const std::string& path, const char* what) {
  const Code code = errno == ENOENT ? Code::kNotFound : Code::kIo;
  return Error{code, fmt::format("cannot {}: {}", what, std::strerror(errno)), path};
}

Result<struct stat> regular_file(int fd, const std::string& path) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return system_error(path, "read the size");
  if (!S_ISREG(info.st_mode)) return Error{Code::kInvalidArgument, "is not a regular file", path};
  return info;
}

/// The whole pages that hold these bytes.
std::span<std::byte> pages_of(const void* begin, std::size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(begin) / page * page;
  return {reinterpret_cast<std::byte*>(first), reinterpret_cast<std::uintptr_t>(begin) + bytes - first};
}

Status write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(path, "write");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok{};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  return open(path, MAP_SHARED);
}

Result<MappedFile> MappedFile::open_private(const std::string& path) {
  return open(path, MAP_PRIVATE);
}

Result<MappedFile> MappedFile::open(const std::string& path, int flags) {
  // Without O_NONBLOCK a pipe's name would wait here for a writer.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return system_error(path, "open");
  MappedFile file;
  file.path_ = path;
  TW_ASSIGN_OR_RETURN(const struct stat info, regular_file(fd.get(), path));
  file.size_ = static_cast<std::size_t>(info.st_size);
  file.info_ = {info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec, info.st_uid,
                info.st_mode & 07777};
  if (file.size_ == 0) return file;
  void* data = ::mmap(nullptr, file.size_, PROT_READ, flags, fd.get(), 0);
  if (data == MAP_FAILED) {
    file.size_ = 0;
    return system_error(path, "map");
  }
  file.data_ = static_cast<const std::byte*>(data);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  std::swap(info_, other.info_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Status allow_writing(const void* begin, std::size_t bytes) {
  const std::span<std::byte> pages = pages_of(begin, bytes);
  if (::mprotect(pages.data(), pages.size(), PROT_READ | PROT_WRITE) != 0)
    return error(Code::kIo, "cannot make mapped pages writable: {}", std::strerror(errno));
  return Ok{};
}

void ask_for_huge_pages(const void* begin, std::size_t bytes) {
  const std::span<std::byte> pages = pages_of(begin, bytes);
  ::madvise(pages.data(), pages.size(), MADV_HUGEPAGE);  // a hint
}

void read_in(const void* begin, std::size_t bytes) {
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, which Debian 12's headers lack
  const std::span<std::byte> pages = pages_of(begin, bytes);
  ::madvise(pages.data(), pages.size(), kPopulateRead);
}

double share_in_huge_pages(const void* begin, std::size_t bytes) {
  const std::span<std::byte> pages = pages_of(begin, bytes);
  const auto first = reinterpret_cast<std::uintptr_t>(pages.data()), last = first + pages.size();
  // For each mapping a line "begin-end ...", in hexadecimal, and then lines such as "FilePmdMapped: 2048 kB".
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  double huge = 0, mapped = 0;
  while (std::getline(maps, line)) {
    std::uintptr_t from = 0, to = 0;
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
      inside = from < last && to > first;
    else if (inside && std::sscanf(line.c_str(), "FilePmdMapped: %lu kB", &kib) == 1)
      huge += static_cast<double>(kib);
    else if (inside && std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1)
      mapped += static_cast<double>(kib);
  }
  return mapped == 0 ? 0 : std::min(1.0, huge / mapped);
}

void forget_mapped(const void* begin, std::size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page;
  const auto last = (reinterpret_cast<std::uintptr_t>(begin) + bytes) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  TW_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  if (bytes.size() > limit) {
    return Error{Code::kResourceExhausted,
                 fmt::format("has {} bytes, more than the limit of {}", bytes.size(), limit), path};
  }
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status check_replaceable(const std::string& path) {
  struct stat there{};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return Error{Code::kInvalidArgument, "is there already, and is not a regular file: name another", path};
  return Ok{};
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  return write_file_atomically(path, std::span(&content, 1));
}

Status write_file_atomically(const std::string& path, std::span<const std::string_view> parts) {
  TW_RETURN_IF_ERROR(check_replaceable(path));
  const std::string temporary = path + ".partial";
  const Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd.get() < 0) return system_error(temporary, "create");
  const auto write = [&]() -> Status {
    for (const std::string_view part : parts) TW_RETURN_IF_ERROR(write_all(fd.get(), part, temporary));
    if (::fsync(fd.get()) != 0) return system_error(temporary, "sync");
    return Ok{};
  };
  Status written = write();
  if (written.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    written = system_error(path, "rename into place");
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

}  // namespace tw::base
