#include "train/token_file.h"

#include <cstring>

#include "base/hash64.h"
#include "io/byte_reader.h"
#include "io/sha256.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 48;

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

/// Nothing below overflows: tokens and documents are below 2^48.
std::uint64_t file_bytes(std::uint64_t width, std::uint64_t tokens, std::uint64_t documents, bool mask) {
  return kTokenHeaderBytes + aligned(tokens * width) + 8 * (documents + 1) + (mask ? (tokens + 7) / 8 : 0);
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Ids below 2^16 take two bytes.
std::uint32_t width_for(std::uint64_t vocabulary) {
  return vocabulary <= 65536 ? 2 : 4;
}

}  // namespace

struct TokenFile::Head {
  std::uint32_t version = 0, width = 0, flags = 0, zero = 0;
  std::uint64_t vocabulary = 0, tokens = 0, documents = 0, bytes = 0, checksum = 0;
  std::span<const std::byte> magic, tokenizer;

  bool read(io::ByteReader& reader) {
    return reader.take(8, magic) && reader.read(version) && reader.read(width) && reader.read(flags) &&
           reader.read(zero) && reader.read(vocabulary) && reader.read(tokens) && reader.read(documents) &&
           reader.read(bytes) && reader.take(32, tokenizer) && reader.read(checksum);
  }
  Status check(std::span<const std::byte> file) const {
    const auto corrupt = [](const char* what) { return base::error(Code::kCorrupt, "{}", what); };
    if (std::memcmp(magic.data(), kTokenMagic.data(), 8) != 0) return corrupt("is no token file");
    if (version != kTokenVersion) {
      return base::error(Code::kUnsupported, "is a token file of version {}; this program reads version {}",
                         version, kTokenVersion);
    }
    if (checksum != base::hash64(file.first(kTokenHeaderBytes - 8)))
      return corrupt("has a header that does not match its checksum");
    if ((flags & ~kTokenHasMask) != 0 || zero != 0)
      return corrupt("has flags that this program does not know");
    if (vocabulary == 0 || vocabulary > kMaxTokenVocabulary || width != width_for(vocabulary))
      return corrupt("has an impossible vocabulary size or token width");
    if (tokens > kMaxTokens || documents > tokens) return corrupt("claims impossible counts");
    const std::uint64_t expected = file_bytes(width, tokens, documents, (flags & kTokenHasMask) != 0);
    if (bytes == expected && expected == file.size()) return Ok{};
    return base::error(Code::kCorrupt, "has {} bytes instead of {}", file.size(), expected);
  }
};

base::Result<TokenFile> TokenFile::open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::MappedFile mapping, base::MappedFile::open(path));
  TW_ASSIGN_OR_RETURN(TokenFile file, parse(mapping.bytes(), path));
  file.mapping_ = std::move(mapping);
  return file;
}

base::Result<TokenFile> TokenFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  TokenFile file;
  file.path_ = name;
  if (const Status status = file.read(bytes); !status.ok())
    return base::Error{status.error().code, status.error().message, name};
  return file;
}

Status TokenFile::read(std::span<const std::byte> bytes) {
  io::ByteReader reader(bytes);
  Head head;
  if (!head.read(reader)) return base::error(Code::kCorrupt, "is cut off in its header");
  TW_RETURN_IF_ERROR(head.check(bytes));
  vocabulary_ = head.vocabulary;
  tokens_ = head.tokens;
  wide_ = head.width == 4;
  tokenizer_sha256_ = io::to_hex({reinterpret_cast<const char*>(head.tokenizer.data()), 32});
  std::span<const std::byte> data, offsets;
  const bool there = reader.take(aligned(tokens_ * head.width), data) &&
                     reader.take(8 * (head.documents + 1), offsets) &&
                     reader.take((head.flags & kTokenHasMask) != 0 ? (tokens_ + 7) / 8 : 0, mask_);
  TW_CHECK(there && reader.remaining() == 0, "the sizes were checked");
  data_ = data.data();
  offsets_ = {reinterpret_cast<const std::uint64_t*>(offsets.data()), head.documents + 1};
  return check_offsets();
}

Status TokenFile::check_offsets() const {
  if (offsets_.front() != 0 || offsets_.back() != tokens_)
    return base::error(Code::kCorrupt, "has documents that do not cover its tokens");
  for (std::size_t d = 0; d + 1 < offsets_.size(); ++d) {
    if (offsets_[d] >= offsets_[d + 1])
      return base::error(Code::kCorrupt, "document {} ends before it begins", d);
  }
  return Ok{};
}

TokenFileWriter::TokenFileWriter(io::AtomicFile file, std::uint64_t vocabulary, std::string tokenizer_sha256,
                                 bool has_mask)
    : file_(std::move(file)),
      vocabulary_(vocabulary),
      tokenizer_sha256_(std::move(tokenizer_sha256)),
      has_mask_(has_mask) {}

base::Result<TokenFileWriter> TokenFileWriter::create(const std::string& path, std::uint64_t vocabulary,
                                                      const std::string& tokenizer_sha256, bool has_mask) {
  TW_CHECK(vocabulary > 0 && vocabulary <= kMaxTokenVocabulary, "a vocabulary fits a token file");
  TW_ASSIGN_OR_RETURN(std::string raw, io::from_hex(tokenizer_sha256));
  TW_CHECK(raw.size() == 32, "a SHA-256 has 32 bytes");
  TW_ASSIGN_OR_RETURN(io::AtomicFile file, io::AtomicFile::create(path));
  TW_RETURN_IF_ERROR(file.write(std::string(kTokenHeaderBytes, '\0')));
  return TokenFileWriter(std::move(file), vocabulary, std::move(raw), has_mask);
}

Status TokenFileWriter::add(std::span<const std::int32_t> ids, std::span<const std::uint8_t> learnt) {
  TW_CHECK(learnt.size() == (has_mask_ ? ids.size() : 0), "a mask has one bit a token");
  std::string bytes;
  const bool wide = width_for(vocabulary_) == 4;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    TW_CHECK(ids[i] >= 0 && static_cast<std::uint64_t>(ids[i]) < vocabulary_, "ids are in the vocabulary");
    if (wide)
      put(bytes, static_cast<std::uint32_t>(ids[i]));
    else
      put(bytes, static_cast<std::uint16_t>(ids[i]));
    if (!has_mask_) continue;
    if ((tokens_ + i) % 8 == 0) mask_ += '\0';
    if (learnt[i] != 0) mask_.back() = static_cast<char>(mask_.back() | 1 << ((tokens_ + i) % 8));
  }
  tokens_ += ids.size();
  return file_.write(bytes);
}

void TokenFileWriter::end_document() {
  if (tokens_ > offsets_.back()) offsets_.push_back(tokens_);
}

base::Result<std::string> TokenFileWriter::finish() {
  end_document();
  TW_RETURN_IF_ERROR(file_.write(std::string(aligned(file_.size()) - file_.size(), '\0')));
  TW_RETURN_IF_ERROR(file_.write(std::as_bytes(std::span(offsets_))));
  TW_RETURN_IF_ERROR(file_.write(mask_));
  std::string head(kTokenMagic);
  put(head, kTokenVersion);
  put(head, width_for(vocabulary_));
  put(head, has_mask_ ? kTokenHasMask : std::uint32_t{0});
  put(head, std::uint32_t{0});
  put(head, vocabulary_);
  put(head, tokens_);
  put(head, documents());
  put(head, file_.size());
  head += tokenizer_sha256_;
  put(head, base::hash64(head));
  TW_CHECK(head.size() == kTokenHeaderBytes, "the header has its size");
  TW_RETURN_IF_ERROR(file_.write_at(0, std::as_bytes(std::span(head))));
  TW_ASSIGN_OR_RETURN(std::string hash, io::sha256_of_file(file_.partial_path()));
  TW_RETURN_IF_ERROR(file_.commit());
  return hash;
}

}  // namespace tw::train
