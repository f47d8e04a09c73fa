// The part of jinja_str.h that changes and asks for upper and lower case.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja_str.h"
#include "text/jinja_unicode_data.h"

namespace tw::text::jinja {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3;

bool cased(char32_t c) {
  return (char_flags(c) & (kLower | kUpper | kTitle)) != 0;
}

void append_mapped(std::string& out, const CaseTable& table, char32_t c) {
  const auto special = std::lower_bound(table.specials.begin(), table.specials.end(), c,
                                        [](const SpecialCase& s, char32_t v) { return s.code_point < v; });
  if (special != table.specials.end() && special->code_point == c) {
    out += special->image;
    return;
  }
  auto run = std::upper_bound(table.runs.begin(), table.runs.end(), c,
                              [](char32_t v, const CaseRun& r) { return v < r.first; });
  // Runs with a stride may interleave: the one before can hold the character too.
  for (int back = 0; back < 2 && run != table.runs.begin(); ++back) {
    --run;
    const std::uint32_t offset = static_cast<std::uint32_t>(c) - run->first;
    if (offset % run->stride == 0 && offset / run->stride < run->count) {
      base::append_utf8(out, static_cast<char32_t>(static_cast<std::int64_t>(c) + run->delta));
      return;
    }
  }
  base::append_utf8(out, c);
}

/// A capital sigma at the end of a word has its own small letter (Unicode's Final_Sigma).
bool ends_word(std::u32string_view text, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && (char_flags(text[before - 1]) & kIgnorable) != 0) --before;
  if (before == 0 || !cased(text[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < text.size() && (char_flags(text[after]) & kIgnorable) != 0) ++after;
  return after == text.size() || !cased(text[after]);
}

void append_lower(std::string& out, std::u32string_view text, std::size_t at) {
  if (text[at] == kCapitalSigma) {
    base::append_utf8(out, ends_word(text, at) ? 0x3C2 : 0x3C3);
  } else {
    append_mapped(out, lower_table(), text[at]);
  }
}

}  // namespace

std::string to_upper(std::string_view text) {
  std::string out;
  for (std::size_t pos = 0; pos < text.size();)
    append_mapped(out, upper_table(), base::decode_utf8(text, pos));
  return out;
}

std::string to_lower(std::string_view text) {
  const std::u32string chars = decode(text);
  std::string out;
  for (std::size_t i = 0; i < chars.size(); ++i) append_lower(out, chars, i);
  return out;
}

std::string to_title(std::string_view text) {
  const std::u32string chars = decode(text);
  std::string out;
  bool in_word = false;
  for (std::size_t i = 0; i < chars.size(); ++i) {
    if (in_word)
      append_lower(out, chars, i);
    else
      append_mapped(out, title_table(), chars[i]);
    in_word = cased(chars[i]);
  }
  return out;
}

std::string to_capitalized(std::string_view text) {
  const std::u32string chars = decode(text);
  std::string out;
  if (!chars.empty()) append_mapped(out, title_table(), chars[0]);
  for (std::size_t i = 1; i < chars.size(); ++i) append_lower(out, chars, i);
  return out;
}

std::string swap_case(std::string_view text) {
  const std::u32string chars = decode(text);
  std::string out;
  for (std::size_t i = 0; i < chars.size(); ++i) {
    const std::uint32_t flags = char_flags(chars[i]);
    if ((flags & kUpper) != 0)
      append_lower(out, chars, i);
    else if ((flags & kLower) != 0)
      append_mapped(out, upper_table(), chars[i]);
    else
      base::append_utf8(out, chars[i]);
  }
  return out;
}

bool all_have(std::string_view text, std::uint32_t flags) {
  for (std::size_t pos = 0; pos < text.size();) {
    if ((char_flags(base::decode_utf8(text, pos)) & flags) == 0) return false;
  }
  return !text.empty();
}

bool is_lower(std::string_view text) {
  bool found = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::uint32_t flags = char_flags(base::decode_utf8(text, pos));
    if ((flags & (kUpper | kTitle)) != 0) return false;
    found = found || (flags & kLower) != 0;
  }
  return found;
}

bool is_upper(std::string_view text) {
  bool found = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::uint32_t flags = char_flags(base::decode_utf8(text, pos));
    if ((flags & (kLower | kTitle)) != 0) return false;
    found = found || (flags & kUpper) != 0;
  }
  return found;
}

bool is_title(std::string_view text) {
  bool found = false;
  bool in_word = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::uint32_t flags = char_flags(base::decode_utf8(text, pos));
    const bool starts = (flags & (kUpper | kTitle)) != 0;
    const bool continues = (flags & kLower) != 0;
    if ((starts && in_word) || (continues && !in_word)) return false;
    in_word = starts || continues;
    found = found || in_word;
  }
  return found;
}

}  // namespace tw::text::jinja
