// Whatever the bytes, parsing ends in a token file whose every token can be read, or in an error.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/hash64.h"
#include "train/token_file.h"

namespace {

void parse(std::span<const std::byte> bytes) {
  const auto file = tw::train::TokenFile::parse(bytes, "fuzz");
  if (!file.ok()) {
    TW_CHECK(file.error().where == "fuzz" && !file.error().message.empty(), "an error must name the file");
    return;
  }
  std::uint64_t sum = 0, end = 0;
  for (std::uint64_t d = 0; d < file->documents(); ++d) {
    TW_CHECK(file->offset(d) == end && file->offset(d + 1) > end, "documents follow each other");
    end = file->offset(d + 1);
  }
  TW_CHECK(end == file->tokens(), "documents cover the tokens");
  for (std::uint64_t i = 0; i < file->tokens(); ++i) sum += file->token(i) + (file->learnt(i) ? 1 : 0);
  TW_CHECK(sum < ~std::uint64_t{0}, "every token was read");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint64_t> aligned(size / 8 + 1);
  if (size > 0) std::memcpy(aligned.data(), data, size);
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(aligned)).first(size);
  parse(bytes);
  // The same with the size and the checksum put right: chance would not find them.
  if (size < tw::train::kTokenHeaderBytes) return 0;
  const std::uint64_t file_bytes = size;
  std::memcpy(bytes.data() + 48, &file_bytes, 8);
  const std::uint64_t checksum = tw::base::hash64(bytes.first(tw::train::kTokenHeaderBytes - 8));
  std::memcpy(bytes.data() + tw::train::kTokenHeaderBytes - 8, &checksum, 8);
  parse(bytes);
  return 0;
}
