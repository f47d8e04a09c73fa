#include "io/packed_file.h"

#include "base/hash64.h"
#include "io/byte_reader.h"
#include "io/gguf_types.h"
#include "io/packed_layout.h"
#include "io/tensor_file.h"

namespace tw::io {
namespace {

using base::Code;
using base::Error;
using base::Ok;
using base::Result;
using base::Status;

constexpr std::int64_t kMaxExtent = std::int64_t{1} << 40;

/// The fixed fields at the beginning.
struct Head {
  PackedIdentity identity;
  std::uint32_t tensors = 0;
  std::uint64_t table_bytes = 0, file_bytes = 0;
};

Result<Head> read_head(ByteReader& reader) {
  std::span<const std::byte> magic;
  std::uint32_t version = 0;
  Head h;
  if (!reader.take(kPackedMagic.size(), magic) || !reader.read(version) ||
      std::string_view(reinterpret_cast<const char*>(magic.data()), magic.size()) != kPackedMagic)
    return base::error(Code::kCorrupt, "is no file of packed weights");
  if (version != kPackedVersion)
    return base::error(Code::kUnsupported, "has version {} instead of {}", version, kPackedVersion);
  if (!reader.read(h.identity.panel_rows) || !reader.read(h.identity.packing) || !reader.read(h.tensors) ||
      !reader.read(h.table_bytes) || !reader.read(h.file_bytes) || !reader.read(h.identity.source_bytes) ||
      !reader.read(h.identity.source_modified_ns) || !reader.read(h.identity.source_header_hash))
    return base::error(Code::kCorrupt, "is cut off in its header");
  return h;
}

/// The header and its table are what was written, and the file has its size.
Status check_frame(const Head& head, std::span<const std::byte> bytes) {
  if (head.file_bytes != bytes.size())
    return base::error(Code::kCorrupt, "has {} bytes instead of {}", bytes.size(), head.file_bytes);
  if (head.table_bytes > kPackedMaxTable ||
      head.table_bytes + kPackedFixedBytes + sizeof(std::uint64_t) > bytes.size())
    return base::error(Code::kCorrupt, "has no room for a table of {} bytes", head.table_bytes);
  const std::size_t covered = kPackedFixedBytes + head.table_bytes;
  std::uint64_t checksum = 0;
  ByteReader(bytes.subspan(covered)).read(checksum);
  if (checksum != base::hash64(bytes.first(covered)))
    return base::error(Code::kCorrupt, "has a header that does not match its checksum");
  return Ok{};
}

/// One line of the table, whose data must begin at `expected`.
Result<PackedTensor> read_tensor(ByteReader& table, std::span<const std::byte> file, std::uint64_t expected) {
  PackedTensor tensor;
  std::string_view name;
  std::uint32_t type = 0;
  std::uint64_t offset = 0, bytes = 0;
  if (!table.read_string(name) || !table.read(type) || !table.read(tensor.n) || !table.read(tensor.k) ||
      !table.read(offset) || !table.read(bytes) || !table.read(tensor.checksum))
    return base::error(Code::kCorrupt, "has a table that is cut off");
  tensor.name = name;
  const auto dtype = dtype_of_ggml(type);
  if (!dtype || tensor.n < 1 || tensor.n > kMaxExtent || tensor.k < 1 || tensor.k > kMaxExtent)
    return base::error(Code::kCorrupt, "tensor {} has an impossible type or shape", quote_text(name));
  tensor.dtype = *dtype;
  if (offset != expected || offset > file.size() || bytes == 0 || bytes > file.size() - offset) {
    return base::error(Code::kCorrupt, "tensor {} does not lie where it must in the file", quote_text(name));
  }
  tensor.data = file.subspan(offset, bytes);
  return tensor;
}

}  // namespace

Result<PackedFile> PackedFile::open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::MappedFile mapping, base::MappedFile::open_private(path));
  // Before the first look: what is read from the disk for that comes in small pages else.
  base::ask_for_huge_pages(mapping.bytes().data(), mapping.bytes().size());
  TW_ASSIGN_OR_RETURN(PackedFile file, parse(mapping.bytes(), path));
  file.mapping_ = std::move(mapping);
  return file;
}

Result<PackedFile> PackedFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  PackedFile file;
  file.path_ = name;
  file.file_bytes_ = bytes.size();
  const auto read = [&]() -> Status {
    ByteReader reader(bytes);
    TW_ASSIGN_OR_RETURN(const Head head, read_head(reader));
    TW_RETURN_IF_ERROR(check_frame(head, bytes));
    file.identity_ = head.identity;
    ByteReader table(bytes.subspan(kPackedFixedBytes, head.table_bytes));
    std::uint64_t end = kPackedFixedBytes + head.table_bytes + sizeof(std::uint64_t);
    for (std::uint32_t i = 0; i < head.tensors; ++i) {
      TW_ASSIGN_OR_RETURN(PackedTensor tensor, read_tensor(table, bytes, packed_aligned(end)));
      end = packed_aligned(end) + tensor.data.size();
      if (!file.index_.emplace(tensor.name, i).second)
        return base::error(Code::kCorrupt, "has two tensors {}", quote_text(tensor.name));
      file.tensors_.push_back(std::move(tensor));
    }
    if (table.remaining() > 0 || end != bytes.size())
      return base::error(Code::kCorrupt, "has bytes that belong to no tensor");
    return Ok{};
  };
  if (const Status status = read(); !status.ok())
    return Error{status.error().code, status.error().message, name};
  return file;
}

const PackedTensor* PackedFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

bool PackedFile::is_intact(const PackedTensor& tensor) {
  return base::hash64(tensor.data) == tensor.checksum;
}

}  // namespace tw::io
