// Reads safetensors files, the format of Hugging Face model folders: a length, a JSON header, the tensors'
// bytes. Format: https://huggingface.co/docs/safetensors (metadata format).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mmap.h"
#include "base/result.h"
#include "io/tensor_file.h"

namespace tw::io {

/// An open file: owns the mapping; movable; immutable and therefore thread-safe. Everything is checked when
/// it is opened: the header's length and JSON, types, shapes, and that the tensors fill the data without gap
/// or overlap, as the format demands. The header holds 100 MB at most.
class SafetensorsFile {
 public:
  /// Fails with kNotFound or kIo, or with kCorrupt naming the tensor or byte offset.
  static base::Result<SafetensorsFile> open(const std::string& path);

  /// The same over bytes in memory, which must outlive the object and start at a multiple of 8.
  static base::Result<SafetensorsFile> parse(std::span<const std::byte> bytes, std::string name);

  const std::string& path() const { return path_; }
  std::size_t file_bytes() const { return file_bytes_; }

  /// The tensors of types this program reads (F32, F16, BF16, I8, I32, I64), in the order of their bytes.
  /// Tensors that the file has at an odd address are kept as aligned copies.
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  /// nullptr when there is no such tensor, or it has another type: get() tells which.
  const TensorEntry* find(std::string_view name) const;
  /// kNotFound, or kUnsupported naming the type.
  base::Result<const TensorEntry*> get(std::string_view name) const;
  /// Name to type ("F64", "U8", ...) of the tensors that cannot be read.
  const std::map<std::string, std::string, std::less<>>& unsupported() const { return unsupported_; }

  /// The free text of the header's __metadata__.
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;
  void align_copies();

  base::MappedFile mapping_;
  std::string path_;
  std::size_t file_bytes_ = 0;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string, std::less<>> unsupported_;
  std::map<std::string, std::string, std::less<>> metadata_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
};

}  // namespace tw::io
