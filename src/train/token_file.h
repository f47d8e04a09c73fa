// Token files: a corpus as token ids, in documents, mapped into memory. Format: docs/formats/tokens.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mmap.h"
#include "base/result.h"
#include "io/atomic_file.h"

namespace tw::train {

inline constexpr std::string_view kTokenMagic = "TWTOKENS";
inline constexpr std::uint32_t kTokenVersion = 1;
inline constexpr std::size_t kTokenHeaderBytes = 96;
inline constexpr std::uint32_t kTokenHasMask = 1;  ///< flag: a bit a token says whether it is learnt from
inline constexpr std::uint64_t kMaxTokenVocabulary = std::uint64_t{1} << 31;

/// An open file; owns the mapping; movable; immutable and therefore thread-safe. Opening checks everything
/// but the ids' range: all counts are held against the file's size before they are used.
class TokenFile {
 public:
  /// Fails with kNotFound or kIo, or with kCorrupt naming the field.
  static base::Result<TokenFile> open(const std::string& path);
  /// The same over bytes in memory, which must outlive the object and start at a multiple of 8.
  static base::Result<TokenFile> parse(std::span<const std::byte> bytes, const std::string& name);

  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t documents() const { return offsets_.size() - 1; }
  std::uint64_t vocabulary() const { return vocabulary_; }
  /// Of the tokenizer.json that made the ids, 64 hex digits.
  const std::string& tokenizer_sha256() const { return tokenizer_sha256_; }
  const std::string& path() const { return path_; }

  /// Where document d begins; d == documents(): where the last one ends. REQUIRES: d <= documents().
  std::uint64_t offset(std::uint64_t d) const { return offsets_[d]; }
  /// The id at a place, which a damaged file may have outside of the vocabulary. REQUIRES: i < tokens().
  std::uint32_t token(std::uint64_t i) const {
    return wide_ ? reinterpret_cast<const std::uint32_t*>(data_)[i]
                 : reinterpret_cast<const std::uint16_t*>(data_)[i];
  }
  bool has_mask() const { return !mask_.empty(); }
  /// Whether the token at this place is learnt from. REQUIRES: i < tokens().
  bool learnt(std::uint64_t i) const {
    return mask_.empty() || (static_cast<unsigned>(mask_[i / 8]) >> (i % 8) & 1) != 0;
  }

 private:
  struct Head;
  base::Status read(std::span<const std::byte> bytes);
  base::Status check_offsets() const;

  base::MappedFile mapping_;
  std::string path_, tokenizer_sha256_;
  std::uint64_t vocabulary_ = 0, tokens_ = 0;
  bool wide_ = false;
  const std::byte* data_ = nullptr;
  std::span<const std::uint64_t> offsets_;
  std::span<const std::byte> mask_;
};

/// Writes a token file document by document, in memory that does not grow with the tokens (but by 8 bytes a
/// document, and a bit a token where there is a mask). One thread at a time.
class TokenFileWriter {
 public:
  /// `tokenizer_sha256`: 64 hex digits. Fails with kIo.
  static base::Result<TokenFileWriter> create(const std::string& path, std::uint64_t vocabulary,
                                              const std::string& tokenizer_sha256, bool has_mask);
  /// Adds tokens to the document that is being written; `learnt`: 0 or 1 for each, empty without a mask.
  base::Status add(std::span<const std::int32_t> ids, std::span<const std::uint8_t> learnt = {});
  void end_document();
  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t documents() const { return offsets_.size() - 1; }

  /// Completes, syncs and renames. Returns the file's SHA-256 in hex.
  base::Result<std::string> finish();

 private:
  TokenFileWriter(io::AtomicFile file, std::uint64_t vocabulary, std::string tokenizer_sha256, bool has_mask);

  io::AtomicFile file_;
  std::uint64_t vocabulary_;
  std::string tokenizer_sha256_;  ///< 32 raw bytes
  bool has_mask_;
  std::uint64_t tokens_ = 0;
  std::vector<std::uint64_t> offsets_{0};
  std::string mask_;
};

}  // namespace tw::train
