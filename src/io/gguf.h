// Reads GGUF files, version 2 and 3, little-endian: metadata and named tensors (docs/formats/gguf.md).
// Not here: what the keys and names mean (model/), how blocks are decoded (kernels/ref/dequantize.h).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mmap.h"
#include "base/result.h"
#include "io/gguf_value.h"
#include "io/tensor_file.h"

namespace tw::io {

struct GgufKeyValue {
  std::string_view key;
  GgufValue value;
};

/// What a parsed file says; views into its bytes. Made by parse_gguf (gguf_parse.h).
struct GgufContents {
  std::uint32_t version = 0;
  std::size_t alignment = 32;
  std::vector<GgufKeyValue> metadata;  ///< in file order
  std::vector<TensorEntry> tensors;    ///< in file order
  std::map<std::string_view, std::size_t> key_index;
  std::map<std::string, std::size_t, std::less<>> tensor_index;
};

/// An open file: owns the mapping, so that tensors and strings stay valid as long as it lives, moved or not.
/// Immutable and therefore thread-safe. Everything is checked when it is opened: lengths, types, offsets,
/// alignment, duplicates and overlaps. Tensor data is not read, so that opening costs no more than the
/// header.
class GgufFile {
 public:
  /// Fails with kNotFound or kIo, with kCorrupt when the file breaks the format (naming the byte offset, key
  /// or tensor), and with kUnsupported for versions, byte orders and tensor types that this program cannot
  /// read.
  static base::Result<GgufFile> open(const std::string& path);

  /// The same over bytes in memory, which must outlive the object and start at a multiple of 8. `name` stands
  /// for the path in messages.
  static base::Result<GgufFile> parse(std::span<const std::byte> bytes, std::string name);

  const std::string& path() const { return path_; }
  std::uint32_t version() const { return contents_.version; }
  std::size_t file_bytes() const { return file_bytes_; }
  /// All that stands before the tensors' data.
  std::span<const std::byte> header() const { return header_; }
  const base::FileInfo& info() const { return mapping_.info(); }

  const std::vector<TensorEntry>& tensors() const { return contents_.tensors; }
  /// nullptr when there is no tensor of that name.
  const TensorEntry* find(std::string_view name) const;

  /// All keys in file order, for those who print them.
  const std::vector<GgufKeyValue>& metadata() const { return contents_.metadata; }
  bool has(std::string_view key) const { return value(key) != nullptr; }
  /// nullptr when there is no such key.
  const GgufValue* value(std::string_view key) const;

  /// Typed access: kNotFound when the key is missing, kInvalidArgument naming both types when it has another
  /// type.
  base::Result<std::uint64_t> get_uint(std::string_view key) const;
  base::Result<std::int64_t> get_int(std::string_view key) const;
  base::Result<double> get_float(std::string_view key) const;
  base::Result<bool> get_bool(std::string_view key) const;
  base::Result<std::string_view> get_string(std::string_view key) const;
  base::Result<std::vector<std::string_view>> get_strings(std::string_view key) const;
  base::Result<std::vector<float>> get_floats(std::string_view key) const;
  base::Result<std::vector<std::int64_t>> get_ints(std::string_view key) const;

  /// The same, with a value for a missing key. A key of another type is still an error.
  base::Result<std::uint64_t> get_uint(std::string_view key, std::uint64_t missing) const;
  base::Result<std::int64_t> get_int(std::string_view key, std::int64_t missing) const;
  base::Result<double> get_float(std::string_view key, double missing) const;
  base::Result<bool> get_bool(std::string_view key, bool missing) const;
  base::Result<std::string_view> get_string(std::string_view key, std::string_view missing) const;

 private:
  GgufFile() = default;

  base::MappedFile mapping_;
  std::string path_;
  std::size_t file_bytes_ = 0;
  std::span<const std::byte> header_;
  GgufContents contents_;
};

}  // namespace tw::io
