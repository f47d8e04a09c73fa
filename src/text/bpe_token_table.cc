#include "text/bpe_token_table.h"

#include <bit>
#include <cstring>

namespace tw::text {
namespace {

template <typename Word>
std::uint64_t load(const char* p) {
  Word word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

/// The first 8 bytes as a little-endian number, padded with zeros; never reads past the key.
std::uint64_t head_of(std::string_view key) {
  const std::size_t n = key.size();
  const char* p = key.data();
  if (n >= 8) return load<std::uint64_t>(p);
  if (n >= 4) return load<std::uint32_t>(p) | load<std::uint32_t>(p + n - 4) << (8 * (n - 4));
  std::uint64_t head = 0;
  for (std::size_t i = 0; i < n; ++i)
    head |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  return head;
}

/// Multiplicative hashing (Knuth, TAOCP 6.4); the high bits are the good ones.
std::uint64_t mix(std::uint64_t h) {
  h *= 0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

}  // namespace

TokenTable::TokenTable(std::size_t count)
    : slots_(std::bit_ceil(count * 2 + 2)), shift_(64 - std::countr_zero(slots_.size())) {}

std::size_t TokenTable::slot_of(std::string_view key, std::uint64_t head) const {
  std::uint64_t h = mix(head + key.size());
  for (std::size_t i = 8; i < key.size(); i += 8) h = mix(h ^ head_of(key.substr(i)));
  std::size_t slot = mix(h) >> shift_;
  for (;; slot = (slot + 1) & (slots_.size() - 1)) {
    const Slot& s = slots_[slot];
    if (s.id == kNoToken) return slot;
    if (s.head != head || s.length != key.size()) continue;
    if (key.size() <= 8 || std::memcmp(s.data + 8, key.data() + 8, key.size() - 8) == 0) return slot;
  }
}

bool TokenTable::insert(std::string_view key, TokenId id) {
  const std::uint64_t head = head_of(key);
  Slot& slot = slots_[slot_of(key, head)];
  if (slot.id != kNoToken) return false;
  slot = {head, key.data(), static_cast<std::uint32_t>(key.size()), id};
  return true;
}

TokenId TokenTable::find(std::string_view key) const {
  return slots_[slot_of(key, head_of(key))].id;
}

}  // namespace tw::text
