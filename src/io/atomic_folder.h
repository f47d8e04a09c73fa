// A folder of files that is there whole, or not at all.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::io {

/// Files are written into PATH.partial; commit() makes it PATH, so that a crash at any moment leaves the old
/// folder or the new one. What is not committed is deleted. One thread at a time.
class AtomicFolder {
 public:
  /// `replaceable`: the file names that a folder may hold which this one is to take the place of, where a
  /// name ending in '*' stands for all that begin so. Fails with kInvalidArgument, naming the file, when
  /// there is a folder, or a PATH.partial, with another (there each name may have .partial behind it: a kill
  /// left it half written); with kIo or kResourceExhausted when the disk does.
  static base::Result<AtomicFolder> create(const std::string& path,
                                           std::span<const std::string_view> replaceable);
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  ~AtomicFolder();

  /// Where the files go until commit(). They must have been synced.
  const std::string& partial_path() const { return partial_; }
  base::Status commit();

 private:
  explicit AtomicFolder(std::string path);
  base::Status move_in() const;

  std::string path_, partial_;
  bool open_ = true;
};

}  // namespace tw::io
