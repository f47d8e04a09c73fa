// Sets of code points, and how their UTF-8 bytes are written into an automaton.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "text/grammar_automaton.h"

namespace tw::text {

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

struct CharRange {
  char32_t lo;
  char32_t hi;  ///< inclusive
  bool operator==(const CharRange&) const = default;
};

/// Sorted, disjoint ranges of code points; surrogates are never members, as no UTF-8 text holds one.
class CharSet {
 public:
  CharSet() = default;
  explicit CharSet(const std::vector<CharRange>& ranges);
  static CharSet all();

  const std::vector<CharRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;
  CharSet complement() const;
  CharSet without(const CharSet& other) const;
  CharSet united(const CharSet& other) const;

 private:
  std::vector<CharRange> ranges_;
};

/// Writes the UTF-8 forms of code points as byte edges. Middle states are shared, so keep one per automaton.
class Utf8Edges {
 public:
  explicit Utf8Edges(Automaton& automaton) : automaton_(automaton) {}

  /// Every code point of the set leads from `from` to `to`.
  void add(std::int32_t from, const CharSet& set, std::int32_t to);

  /// The same for the inside of a JSON string in its canonical form: a quote, a backslash and a control
  /// character are escaped (\b \t \n \f \r, else \u00XX); all others stand for themselves.
  void add_json(std::int32_t from, const CharSet& set, std::int32_t to);

  /// A state that reads one byte of the range on its way to `to`.
  std::int32_t before(std::uint8_t lo, std::uint8_t hi, std::int32_t to);

 private:
  void add_range(std::int32_t from, char32_t lo, char32_t hi, std::int32_t to);
  void add_escaped(std::int32_t from, char32_t c, std::int32_t to);

  Automaton& automaton_;
  std::unordered_map<std::uint64_t, std::int32_t> shared_;
};

}  // namespace tw::text
