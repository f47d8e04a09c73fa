// Python's str as functions on UTF-8: everything counts and tests code points, not bytes.
// REQUIRES everywhere: the text is valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tw::text::jinja {

enum class Side : std::uint8_t { kLeft, kRight, kBoth };

/// str.isspace() of one character.
bool is_space(char32_t c);
/// The CharFlag bits of a character (jinja_unicode_data.h).
std::uint32_t char_flags(char32_t c);
std::size_t code_points(std::string_view text);

/// str.strip(), lstrip(), rstrip(): white space, or any of `chars`.
std::string_view strip(std::string_view text, Side side);
std::string_view strip(std::string_view text, Side side, std::string_view chars);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        ///< str.title()
std::string to_capitalized(std::string_view text);  ///< str.capitalize()
std::string swap_case(std::string_view text);

/// The text as code points, and back.
std::u32string decode(std::string_view text);
std::string encode(std::u32string_view text);

/// Byte offset of `needle` at or after `from`, in linear time; npos if there is none.
std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from = 0);
/// Byte offset of the last `needle`, in linear time.
std::size_t rfind_bytes(std::string_view text, std::string_view needle);
/// Byte offset of the code point with this index (text.size() if past the end).
std::size_t byte_offset(std::string_view text, std::size_t index);

/// str.split() and rsplit(): at white space, or at `separator` (REQUIRES: not empty). `limit` < 0: no limit.
std::vector<std::string_view> split_space(std::string_view text, std::int64_t limit, bool from_right);
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t limit,
                                       bool from_right);
/// At least as many pieces as split_space() and split_lines() give.
std::size_t most_pieces(std::string_view text);
/// str.splitlines().
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// Bytes that replace() would make, and replace() itself. `limit` < 0: every one.
std::size_t replaced_size(std::string_view text, std::string_view from, std::string_view to,
                          std::int64_t limit);
std::string replaced(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit);

/// Whether the text is not empty and every character has one of these flags (str.isalpha() and its like).
bool all_have(std::string_view text, std::uint32_t flags);
bool is_lower(std::string_view text);
bool is_upper(std::string_view text);
bool is_title(std::string_view text);

/// repr(str): in single quotes unless it holds one and no double quote.
std::string quoted(std::string_view text);
/// markupsafe.escape().
std::string html_escaped(std::string_view text);

}  // namespace tw::text::jinja
