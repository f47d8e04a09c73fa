#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/hash64.h"
#include "io/gguf_types.h"
#include "io/packed_file.h"
#include "io/packed_layout.h"

namespace tw::io {
namespace {

using base::Code;
using base::Error;
using base::Ok;
using base::Status;

/// One call's bytes. Large and aligned, so that the page cache holds the file in huge pages: what is mapped
/// by 4 KiB is read slower.
constexpr std::uint64_t kChunk = 8 << 20;
constexpr std::size_t kMaxPieces = 512;  // below IOV_MAX
constexpr std::byte kZeros[kPackedAlignment] = {};

Error failed(const std::string& path, const char* what) {
  return Error{Code::kIo, fmt::format("cannot {}: {}", what, std::strerror(errno)), path};
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Cancelled, it is wrong: whoever writes on asks again before anything else.
std::string make_table(std::span<const PackedTensor> tensors, std::uint64_t first_offset,
                       const std::function<bool()>& cancelled) {
  std::string table;
  std::uint64_t offset = first_offset;
  for (const PackedTensor& tensor : tensors) {
    put(table, std::uint64_t{tensor.name.size()});
    table += tensor.name;
    put(table, ggml_of_dtype(tensor.dtype));
    put(table, tensor.n);
    put(table, tensor.k);
    put(table, offset);
    put(table, std::uint64_t{tensor.data.size()});
    put(table, cancelled() ? 0 : base::hash64(tensor.data));
    offset = packed_aligned(offset + tensor.data.size());
  }
  return table;
}

/// The header with its table and checksum.
std::string make_head(const PackedIdentity& identity, std::span<const PackedTensor> tensors,
                      const std::function<bool()>& cancelled) {
  std::uint64_t table_bytes = 0, data_bytes = 0;
  for (const PackedTensor& tensor : tensors) {
    table_bytes += 52 + tensor.name.size();
    data_bytes = packed_aligned(data_bytes) + tensor.data.size();
  }
  const std::uint64_t first = packed_aligned(kPackedFixedBytes + table_bytes + sizeof(std::uint64_t));
  std::string head(kPackedMagic);
  put(head, kPackedVersion);
  put(head, identity.panel_rows);
  put(head, identity.packing);
  put(head, static_cast<std::uint32_t>(tensors.size()));
  put(head, table_bytes);
  put(head, first + data_bytes);
  put(head, identity.source_bytes);
  put(head, identity.source_modified_ns);
  put(head, identity.source_header_hash);
  head += make_table(tensors, first, cancelled);
  TW_CHECK(head.size() == kPackedFixedBytes + table_bytes, "the table has the size that was counted");
  put(head, base::hash64(head));
  return head;
}

/// PATH.partial, held by this process alone until it is renamed or given up.
class Partial {
 public:
  explicit Partial(const std::string& path) : path_(path), partial_(path + ".partial") {}
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() {
    if (locked_) ::unlink(partial_.c_str());
    if (fd_ >= 0) ::close(fd_);
  }

  Status create(std::uint64_t bytes) {
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd_ < 0) return failed(partial_, "create");
    struct stat mine{}, named{};
    // Another process may have renamed it between our opening and locking it: then it is no longer ours.
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 || ::fstat(fd_, &mine) != 0 ||
        ::stat(partial_.c_str(), &named) != 0 || mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
      return Error{Code::kUnavailable, "another process writes it", partial_};
    if (!S_ISREG(mine.st_mode) || mine.st_uid != ::geteuid())
      return Error{Code::kIo, "is not ours to write", partial_};
    locked_ = true;
    if (::ftruncate(fd_, 0) != 0) return failed(partial_, "empty");
    struct statvfs space{};
    if (::fstatvfs(fd_, &space) == 0 && std::uint64_t{space.f_bavail} * space.f_frsize < 2 * bytes) {
      return Error{Code::kResourceExhausted,
                   fmt::format("no room for {} MB and as much again", bytes / 1000000), partial_};
    }
    return Ok{};
  }

  /// Collects what comes until a chunk is full. The bytes must stay until then.
  Status add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto take =
          static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), kChunk - at_ % kChunk));
      pieces_.push_back({const_cast<std::byte*>(bytes.data()), take});
      at_ += take;
      bytes = bytes.subspan(take);
      if (at_ % kChunk == 0 || pieces_.size() == kMaxPieces) TW_RETURN_IF_ERROR(flush());
    }
    return Ok{};
  }
  Status align() { return add(std::span(kZeros).first(packed_aligned(at_) - at_)); }

  Status commit(std::uint32_t mode) {
    TW_RETURN_IF_ERROR(flush());
    if (::fsync(fd_) != 0) return failed(partial_, "sync");
    if (::fchmod(fd_, mode & 0666) != 0) return failed(partial_, "set the permissions of");
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) return failed(path_, "rename into place");
    locked_ = false;
    return Ok{};
  }

 private:
  Status flush() {
    std::span<iovec> left(pieces_);
    while (!left.empty()) {
      ssize_t written = ::writev(fd_, left.data(), static_cast<int>(left.size()));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed(partial_, "write");
      while (!left.empty() && static_cast<std::size_t>(written) >= left.front().iov_len) {
        written -= static_cast<ssize_t>(left.front().iov_len);
        left = left.subspan(1);
      }
      if (written > 0) {
        left.front().iov_base = static_cast<std::byte*>(left.front().iov_base) + written;
        left.front().iov_len -= static_cast<std::size_t>(written);
      }
    }
    pieces_.clear();
    return Ok{};
  }

  const std::string path_, partial_;
  int fd_ = -1;
  bool locked_ = false;
  std::uint64_t at_ = 0;
  std::vector<iovec> pieces_;
};

}  // namespace

Status write_packed_file(const std::string& path, const PackedIdentity& identity,
                         std::span<const PackedTensor> tensors, std::uint32_t mode,
                         const std::function<bool()>& cancelled) {
  std::uint64_t bytes = 0;
  for (const PackedTensor& tensor : tensors) bytes += tensor.data.size();
  Partial file(path);
  TW_RETURN_IF_ERROR(file.create(bytes));
  const std::string head = make_head(identity, tensors, cancelled);
  TW_RETURN_IF_ERROR(file.add(std::as_bytes(std::span(head))));
  for (const PackedTensor& tensor : tensors) {
    TW_RETURN_IF_ERROR(file.align());
    for (std::size_t done = 0; done < tensor.data.size(); done += kChunk) {
      if (cancelled()) return Error{Code::kCancelled, "writing was cancelled", path};
      TW_RETURN_IF_ERROR(file.add(tensor.data.subspan(done, std::min(kChunk, tensor.data.size() - done))));
    }
  }
  return file.commit(mode);
}

}  // namespace tw::io
