// GPT-2's byte-level alphabet: every byte is written as one printable character, so that any text is a string
// of known symbols (Radford et al. 2019, section 2.2, and the released encoder).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tw::text {

/// The character that stands for a byte.
char32_t byte_level_char(unsigned char byte);

/// The bytes that a token in byte-level spelling stands for; nothing if a character is not of the alphabet.
std::optional<std::string> byte_level_decode(std::string_view spelled);

/// The byte-level spelling of the bytes.
std::string byte_level_encode(std::string_view bytes);

}  // namespace tw::text
