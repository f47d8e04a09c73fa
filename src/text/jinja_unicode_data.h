// What Python's str knows of each code point: generated tables, made by tools/make_jinja_unicode.py.
#pragma once

#include <cstdint>
#include <span>

namespace tw::text::jinja {

/// Bits of a flag run: what str.isalpha() and its like say of one character.
enum CharFlag : std::uint32_t {
  kAlpha = 1 << 0,
  kDecimal = 1 << 1,
  kDigit = 1 << 2,
  kNumeric = 1 << 3,
  kPrintable = 1 << 4,
  kLower = 1 << 5,
  kUpper = 1 << 6,
  kIgnorable = 1 << 7,  ///< Case_Ignorable: skipped when looking for the end of a word
  kTitle = 1 << 8,
  kSpace = 1 << 9,
};
inline constexpr int kFlagBits = 10;

/// `count` code points from `first`, `stride` apart, each of which maps to itself plus `delta`.
struct CaseRun {
  std::uint32_t first;
  std::uint32_t count;
  std::uint32_t stride;
  std::int32_t delta;
};

/// A code point whose image is several characters.
struct SpecialCase {
  std::uint32_t code_point;
  const char* image;  ///< UTF-8
};

/// Both sorted by code point.
struct CaseTable {
  std::span<const CaseRun> runs;
  std::span<const SpecialCase> specials;
};

/// Sorted entries (first code point << kFlagBits | flags); each holds up to the next entry.
std::span<const std::uint32_t> flag_runs();
CaseTable upper_table();
CaseTable lower_table();
CaseTable title_table();

}  // namespace tw::text::jinja
