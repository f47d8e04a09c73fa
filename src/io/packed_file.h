// Files of packed weights: a model's matrices in the layout that kernels want, kept beside the model so that
// a second start need not pack them (docs/formats/packed.md). Not here: the layout (kernels/panels.h) and
// when such a file is made and used (model/packed_weights.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/mmap.h"
#include "base/result.h"

namespace tw::io {

/// What a file was made of and for. It may be used where all of it is equal.
struct PackedIdentity {
  std::uint32_t panel_rows = 0, packing = 0;  ///< the layout, and its version
  std::uint64_t source_bytes = 0;             ///< size of the model's file
  std::int64_t source_modified_ns = 0;        ///< since 1970
  std::uint64_t source_header_hash = 0;       ///< XXH64 of what stands before its tensors' data

  bool operator==(const PackedIdentity&) const = default;
};

/// A packed matrix W[N, K] of type `dtype`.
struct PackedTensor {
  std::string name;
  base::DType dtype = base::DType::kF32;
  std::int64_t n = 0, k = 0;
  std::span<const std::byte> data;
  std::uint64_t checksum = 0;  ///< XXH64 of the data; not looked at when writing
};

/// An open file; owns the mapping; movable; immutable and therefore thread-safe. Opening checks all but the
/// tensors' data: is_intact() does that.
class PackedFile {
 public:
  /// Fails with kNotFound or kIo, or with kCorrupt naming the field or tensor.
  static base::Result<PackedFile> open(const std::string& path);
  /// The same over bytes in memory, which must outlive the object.
  static base::Result<PackedFile> parse(std::span<const std::byte> bytes, const std::string& name);

  const PackedIdentity& identity() const { return identity_; }
  const std::vector<PackedTensor>& tensors() const { return tensors_; }
  /// nullptr when there is no such tensor.
  const PackedTensor* find(std::string_view name) const;
  /// Reads all of the tensor's data. Where the file is mapped, base::allow_writing makes it mendable.
  static bool is_intact(const PackedTensor& tensor);

  const std::string& path() const { return path_; }
  std::uint64_t file_bytes() const { return file_bytes_; }
  const base::FileInfo& info() const { return mapping_.info(); }
  /// All of it, where it is mapped.
  std::span<const std::byte> mapped() const { return mapping_.bytes(); }

 private:
  base::MappedFile mapping_;
  std::string path_;
  std::uint64_t file_bytes_ = 0;
  PackedIdentity identity_;
  std::vector<PackedTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// Makes the file: beside it as PATH.partial, synced, then renamed, so that there is never half of one.
/// `mode` gives its permission bits. Only one process writes it at a time: fails with kUnavailable when
/// another one does, with kCancelled soon after `cancelled` returns true, or with kIo. REQUIRES: names are
/// unique.
base::Status write_packed_file(const std::string& path, const PackedIdentity& identity,
                               std::span<const PackedTensor> tensors, std::uint32_t mode,
                               const std::function<bool()>& cancelled);

/// Where the packed weights of a model's file may be, in the order of preference: MODEL.packedROWS beside it,
/// and the same in the user's cache folder with a number that stands for the model's place.
std::vector<std::string> packed_places(const std::string& model, std::uint32_t panel_rows);

/// Deletes all files of packed weights that packed_places names. Files that are none stay.
void remove_packed_files(const std::string& model);

}  // namespace tw::io
