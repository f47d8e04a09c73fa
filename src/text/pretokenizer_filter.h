// Tells cheaply that a pattern cannot match a short ASCII piece, which is what most later steps ask most
// often.
#pragma once

#include <bitset>
#include <optional>
#include <string_view>

#include "text/pretokenizer_regex.h"

namespace tw::text {

/// The ASCII characters of which a match must hold at least one.
using AsciiSet = std::bitset<128>;

/// For patterns that are one character class, perhaps repeated and after an optional space; else nothing.
std::optional<AsciiSet> required_ascii(std::string_view pattern, const Regex& regex);

/// False only if no part of the text can match. Text beyond ASCII always may.
inline bool may_match(const AsciiSet& required, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || required[byte]) return true;
  }
  return false;
}

}  // namespace tw::text
