// Whatever the bytes, parsing ends in a file whose every tensor can be read, or in an error.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/hash64.h"
#include "io/packed_file.h"
#include "io/packed_layout.h"

namespace {

void parse(std::span<const std::byte> bytes) {
  const auto file = tw::io::PackedFile::parse(bytes, "fuzz");
  if (!file.ok()) {
    TW_CHECK(file.error().where == "fuzz" && !file.error().message.empty(), "an error must name the file");
    return;
  }
  const std::byte* end = bytes.data();
  for (const tw::io::PackedTensor& tensor : file->tensors()) {
    TW_CHECK(file->find(tensor.name) == &tensor, "a tensor must be found");
    TW_CHECK(tensor.data.data() >= end && !tensor.data.empty(), "tensors follow each other");
    end = tensor.data.data() + tensor.data.size();
    TW_CHECK(end <= bytes.data() + bytes.size(), "tensors lie in the file");
    (void)tw::io::PackedFile::is_intact(tensor);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  parse(bytes);
  // The same with the size and the checksum put right: chance would not find them.
  if (size < tw::io::kPackedFixedBytes) return 0;
  std::vector<std::byte> fixed(bytes.begin(), bytes.end());
  const std::uint64_t file_bytes = size;
  std::memcpy(fixed.data() + 32, &file_bytes, 8);
  std::uint64_t table = 0;
  std::memcpy(&table, fixed.data() + 24, 8);
  if (table > size - tw::io::kPackedFixedBytes || size - tw::io::kPackedFixedBytes - table < 8) return 0;
  const std::size_t covered = tw::io::kPackedFixedBytes + table;
  const std::uint64_t checksum = tw::base::hash64(std::span(fixed).first(covered));
  std::memcpy(fixed.data() + covered, &checksum, 8);
  parse(fixed);
  return 0;
}
