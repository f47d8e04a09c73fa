#include "text/bpe_byte_level.h"

#include <array>

#include "base/utf8.h"

namespace tw::text {
namespace {

/// Bytes that are printable in Latin-1 stand for themselves.
constexpr bool is_own_char(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> to_char{};
  std::array<std::int16_t, 512> to_byte{};
};

/// The other bytes take the characters from U+0100 on, in order.
constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.to_byte.fill(-1);
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = is_own_char(byte) ? static_cast<char32_t>(byte) : next++;
    alphabet.to_char[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_level_char(unsigned char byte) {
  return kAlphabet.to_char[byte];
}

std::optional<std::string> byte_level_decode(std::string_view spelled) {
  std::string bytes;
  bytes.reserve(spelled.size());
  for (std::size_t pos = 0; pos < spelled.size();) {
    const char32_t c = base::decode_utf8(spelled, pos);
    if (c >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.to_byte[c]);
  }
  return bytes;
}

std::string byte_level_encode(std::string_view bytes) {
  std::string spelled;
  for (const char byte : bytes) base::append_utf8(spelled, byte_level_char(static_cast<unsigned char>(byte)));
  return spelled;
}

}  // namespace tw::text
