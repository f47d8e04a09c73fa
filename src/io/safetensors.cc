#include "io/safetensors.h"

#include <cstring>
#include <utility>

#include "io/byte_reader.h"
#include "io/safetensors_header.h"

namespace tw::io {
namespace {

using base::Code;
using base::Error;
using base::Result;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// The header's text, and what follows it.
struct Sections {
  std::string_view header;
  std::span<const std::byte> data;
};

Result<Sections> split(std::span<const std::byte> bytes, const std::string& name) {
  ByteReader reader(bytes);
  std::uint64_t length = 0;
  std::span<const std::byte> header, data;
  if (!reader.read(length)) {
    return Error{
        Code::kCorrupt,
        fmt::format("has only {} bytes, too few for a safetensors file; download it again", bytes.size()),
        name};
  }
  if (length > kMaxHeaderBytes) {
    return Error{
        Code::kCorrupt,
        fmt::format("is not a safetensors file, or damaged: its header would have {} bytes, at most {} are "
                    "possible",
                    length, kMaxHeaderBytes),
        name};
  }
  if (!reader.take(length, header)) {
    return Error{
        Code::kCorrupt,
        fmt::format("the file is cut off: the header ends at byte {}, but the file has {} bytes; download it "
                    "again",
                    8 + length, bytes.size()),
        name};
  }
  reader.take(reader.remaining(), data);
  return Sections{{reinterpret_cast<const char*>(header.data()), header.size()}, data};
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::MappedFile mapping, base::MappedFile::open(path));
  TW_ASSIGN_OR_RETURN(SafetensorsFile file, parse(mapping.bytes(), path));
  file.mapping_ = std::move(mapping);
  return file;
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, std::string name) {
  TW_ASSIGN_OR_RETURN(const Sections sections, split(bytes, name));
  auto header = parse_safetensors_header(sections.header, sections.data.size());
  if (!header.ok()) return Error{header.error().code, header.error().message, name};
  SafetensorsFile file;
  file.path_ = std::move(name);
  file.file_bytes_ = bytes.size();
  file.metadata_ = std::move(header->metadata);
  for (SafetensorsItem& item : header->items) {
    if (!item.dtype) {
      file.unsupported_.emplace(std::move(item.name), std::move(item.type));
      continue;
    }
    file.index_.emplace(item.name, file.tensors_.size());
    file.tensors_.push_back({std::move(item.name), *item.dtype, std::move(item.shape),
                             sections.data.data() + item.begin, item.end - item.begin});
  }
  file.align_copies();
  return file;
}

void SafetensorsFile::align_copies() {
  for (TensorEntry& entry : tensors_) {
    const auto element = static_cast<std::uintptr_t>(base::dtype_info(entry.dtype).block_bytes);
    if (reinterpret_cast<std::uintptr_t>(entry.data) % element == 0) continue;
    auto copy = std::make_unique_for_overwrite<std::byte[]>(entry.bytes);
    if (entry.bytes > 0) std::memcpy(copy.get(), entry.data, entry.bytes);
    entry.data = copy.get();
    entry.mapped = false;
    copies_.push_back(std::move(copy));
  }
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Result<const TensorEntry*> SafetensorsFile::get(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return entry;
  const auto it = unsupported_.find(name);
  if (it == unsupported_.end()) {
    return Error{Code::kNotFound, fmt::format("has no tensor {}", quote_text(name)), path_};
  }
  return Error{Code::kUnsupported,
               fmt::format("tensor {} has the type {}, which cannot be read; use F32, F16 or BF16 weights",
                           quote_text(name), it->second),
               path_};
}

}  // namespace tw::io
