// A hash table from byte strings to token ids, made for millions of look-ups of short words.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tw::text {

inline constexpr TokenId kNoToken = -1;

/// Open addressing; the first 8 bytes of a key lie in its slot, so that most look-ups touch one cache line.
/// The keys are not owned: they must outlive the table.
class TokenTable {
 public:
  /// Room for this many keys.
  explicit TokenTable(std::size_t count);
  /// False, and no change, when the key is there already.
  bool insert(std::string_view key, TokenId id);
  /// kNoToken if absent.
  TokenId find(std::string_view key) const;

 private:
  struct Slot {
    std::uint64_t head = 0;  ///< the first 8 bytes, padded with zeros
    const char* data = nullptr;
    std::uint32_t length = 0;
    TokenId id = kNoToken;
  };
  std::size_t slot_of(std::string_view key, std::uint64_t head) const;

  std::vector<Slot> slots_;
  int shift_;
};

}  // namespace tw::text
