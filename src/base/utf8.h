// UTF-8 by hand: the few things tokenizers, templates and grammars all need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tw::base {

inline constexpr char32_t kReplacement = 0xFFFD;

/// Decodes one code point at text[pos] and moves pos past it. An invalid byte gives U+FFFD and moves one
/// byte. REQUIRES: pos < text.size().
char32_t decode_utf8(std::string_view text, std::size_t& pos);

/// Appends the UTF-8 form of a code point (U+FFFD if it is none).
void append_utf8(std::string& out, char32_t code_point);

/// The length of the longest prefix that does not end inside a character: what may be shown now of a stream
/// whose next bytes are still to come. An invalid byte counts as a whole character.
std::size_t complete_utf8_prefix(std::string_view text);

/// The text with every invalid byte replaced by U+FFFD.
std::string sanitize_utf8(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace tw::base
