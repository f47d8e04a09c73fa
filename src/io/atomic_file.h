// A file that is written piece by piece and is then there whole, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::io {

/// Writes PATH.partial; commit() syncs it, renames it to PATH and syncs the folder, so that a crash at any
/// moment leaves the old file or the new one. What is not committed is deleted. One thread at a time.
class AtomicFile {
 public:
  /// Fails with kIo, naming the path and the system's reason, and as base::check_replaceable does.
  static base::Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  /// Appends. Small pieces are collected.
  base::Status write(std::span<const std::byte> bytes);
  base::Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  /// Overwrites what was appended before. REQUIRES: offset + bytes <= size().
  base::Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  std::uint64_t size() const { return size_; }
  /// Where the bytes are until commit(); flush() makes them all readable there.
  const std::string& partial_path() const { return partial_; }
  base::Status flush();
  base::Status commit();

 private:
  AtomicFile(std::string path, int fd);
  base::Status write_out(std::span<const std::byte> bytes);

  std::string path_, partial_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::string buffer_;
};

/// Makes the folder's entries last through a crash: to be called after a rename inside it.
base::Status sync_folder(const std::string& folder);

}  // namespace tw::io
