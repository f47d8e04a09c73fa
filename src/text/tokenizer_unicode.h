// Character classes, lower case and canonical normalization (Unicode Standard Annex 15), as tokenizers need
// them.
#pragma once

#include <string>
#include <string_view>

namespace tw::text {

/// Unicode's White_Space.
bool is_space(char32_t c);
/// Letters, marks, numbers, connector punctuation.
bool is_word_char(char32_t c);
/// The general categories P*.
bool is_punctuation(char32_t c);
/// The general category Mn.
bool is_nonspacing_mark(char32_t c);
/// The general categories M*.
bool is_mark(char32_t c);
/// The general categories Cc, Cf and Co.
bool is_control_char(char32_t c);
/// BERT's Chinese characters: the CJK blocks without kana and hangul.
bool is_cjk(char32_t c);

/// Appends the lower case of one character; only U+0130 gives two.
void append_lowercase(std::string& out, char32_t c);

/// Canonical decomposition and composition. Invalid bytes become U+FFFD.
std::string to_nfd(std::string_view text);
std::string to_nfc(std::string_view text);

}  // namespace tw::text
