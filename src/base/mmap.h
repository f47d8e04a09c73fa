// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::base {

/// What the system says of a file when it is opened.
struct FileInfo {
  std::int64_t modified_ns = 0;  ///< since 1970
  std::uint32_t owner = 0;       ///< user id
  std::uint32_t mode = 0;        ///< permission bits
};

/// Owns the mapping; movable. The bytes stay valid, and shared with the page cache, as long as it lives.
class MappedFile {
 public:
  /// Fails with kNotFound or kIo, naming the path and the reason.
  static Result<MappedFile> open(const std::string& path);
  /// The same of which parts may be made writable; what is written there stays in this process.
  static Result<MappedFile> open_private(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  const FileInfo& info() const { return info_; }

 private:
  static Result<MappedFile> open(const std::string& path, int flags);

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
  FileInfo info_;
};

/// Makes the pages of these bytes writable. REQUIRES: bytes of a MappedFile that was opened with
/// open_private.
Status allow_writing(const void* begin, std::size_t bytes);

/// Asks for huge pages, if the file system has them. REQUIRES: a MappedFile's bytes.
void ask_for_huge_pages(const void* begin, std::size_t bytes);

/// Maps the pages of these bytes now, reading them if they are not in memory: a hint. REQUIRES: a
/// MappedFile's bytes.
void read_in(const void* begin, std::size_t bytes);

/// Of the pages of these bytes that are mapped by now, the share that lies in huge ones, 0 to 1 (0 also where
/// the system does not say). By file system, kernel version and what else used the memory it may be none.
/// REQUIRES: all bytes of a MappedFile.
double share_in_huge_pages(const void* begin, std::size_t bytes);

/// Tells the system that these bytes of a mapped file are not needed soon: they leave this process's memory
/// and come back when read. Whole pages inside the range only. REQUIRES: a MappedFile's bytes; other memory
/// would be lost.
void forget_mapped(const void* begin, std::size_t bytes);

/// The whole file as text. Fails when it is larger than `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = std::size_t{64} << 20);

/// Fails with kInvalidArgument when something of this name is there and is no regular file: writing and then
/// renaming would replace a device or a pipe, which nobody wants of /dev/null.
Status check_replaceable(const std::string& path);

/// Writes the file so that a crash leaves the old or the new one, never half: temporary, fsync, rename. Fails
/// as check_replaceable does, and with kIo.
Status write_file_atomically(const std::string& path, std::string_view content);
/// The same, of parts one after the other: for content that need not lie in one piece.
Status write_file_atomically(const std::string& path, std::span<const std::string_view> parts);

}  // namespace tw::base
