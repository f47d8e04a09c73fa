#include "base/utf8.h"

namespace tw::base {
namespace {

/// Bytes of the sequence that starts with this byte; 0 if none starts so.
int sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// Whether `next`, the second byte, may follow `lead`: rules out overlong forms, surrogates and > U+10FFFF
/// (Unicode 15, table 3-7).
bool second_byte_fits(unsigned char lead, unsigned char next) {
  switch (lead) {
    case 0xE0:
      return next >= 0xA0 && next <= 0xBF;
    case 0xED:
      return next >= 0x80 && next <= 0x9F;
    case 0xF0:
      return next >= 0x90 && next <= 0xBF;
    case 0xF4:
      return next >= 0x80 && next <= 0x8F;
    default:
      return next >= 0x80 && next <= 0xBF;
  }
}

/// Bytes of the valid prefix of a sequence at pos: `want` if it is whole, fewer if it breaks or the text
/// ends.
int valid_bytes(std::string_view text, std::size_t pos, int want) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  int have = 1;
  while (have < want && pos + have < text.size()) {
    const unsigned char next = byte(pos + have);
    const bool fits = have == 1 ? second_byte_fits(byte(pos), next) : (next & 0xC0) == 0x80;
    if (!fits) return have;
    ++have;
  }
  return have;
}

}  // namespace

char32_t decode_utf8(std::string_view text, std::size_t& pos) {
  const auto lead = static_cast<unsigned char>(text[pos]);
  const int want = sequence_length(lead);
  if (want == 1) return text[pos++];
  if (want == 0 || valid_bytes(text, pos, want) < want) {
    ++pos;
    return kReplacement;
  }
  char32_t code_point = lead & (0xFF >> (want + 1));
  for (int i = 1; i < want; ++i)
    code_point = code_point << 6 | (static_cast<unsigned char>(text[pos + i]) & 0x3F);
  pos += want;
  return code_point;
}

void append_utf8(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = kReplacement;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::size_t complete_utf8_prefix(std::string_view text) {
  // Only the last three bytes can begin a character that is not yet whole.
  const std::size_t size = text.size();
  for (std::size_t back = 1; back <= 3 && back <= size; ++back) {
    const std::size_t pos = size - back;
    const int want = sequence_length(static_cast<unsigned char>(text[pos]));
    if (want == 0) continue;
    const bool unfinished =
        want > static_cast<int>(back) && valid_bytes(text, pos, want) == static_cast<int>(back);
    return unfinished ? pos : size;
  }
  return size;
}

std::string sanitize_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) append_utf8(out, decode_utf8(text, pos));
  return out;
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    const int want = sequence_length(static_cast<unsigned char>(text[pos]));
    if (want == 0 || valid_bytes(text, pos, want) < want) return false;
    pos += want;
  }
  return true;
}

}  // namespace tw::base
