#include "text/grammar_chars.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace tw::text {
namespace {

constexpr CharRange kSurrogates{0xD800, 0xDFFF};

std::vector<CharRange> gaps(const std::vector<CharRange>& ranges) {
  std::vector<CharRange> out;
  char32_t next = 0;
  for (const CharRange& range : ranges) {
    if (range.lo > next) out.push_back({next, range.lo - 1});
    next = range.hi + 1;
  }
  if (next <= kLastCodePoint) out.push_back({next, kLastCodePoint});
  return out;
}

std::vector<CharRange> normalize(std::vector<CharRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
  std::vector<CharRange> out;
  for (const CharRange& range : ranges) {
    if (range.lo > range.hi) continue;
    if (!out.empty() && range.lo <= out.back().hi + 1)
      out.back().hi = std::max(out.back().hi, range.hi);
    else
      out.push_back(range);
  }
  return out;
}

std::vector<CharRange> cut_surrogates(const std::vector<CharRange>& ranges) {
  std::vector<CharRange> out;
  for (CharRange range : ranges) {
    range.hi = std::min(range.hi, kLastCodePoint);
    if (range.lo < kSurrogates.lo) out.push_back({range.lo, std::min(range.hi, char32_t{0xD7FF})});
    if (range.hi > kSurrogates.hi) out.push_back({std::max(range.lo, char32_t{0xE000}), range.hi});
  }
  return out;
}

}  // namespace

CharSet::CharSet(const std::vector<CharRange>& ranges) : ranges_(normalize(cut_surrogates(ranges))) {}

CharSet CharSet::all() {
  return CharSet({{0, kLastCodePoint}});
}

bool CharSet::contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& r) { return r.lo <= c && c <= r.hi; });
}

CharSet CharSet::complement() const {
  return CharSet(gaps(ranges_));
}

CharSet CharSet::united(const CharSet& other) const {
  std::vector<CharRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(both);
}

CharSet CharSet::without(const CharSet& other) const {
  return complement().united(other).complement();
}

std::int32_t Utf8Edges::before(std::uint8_t lo, std::uint8_t hi, std::int32_t to) {
  const std::uint64_t key = (static_cast<std::uint64_t>(to) << 16) | (std::uint64_t{lo} << 8) | hi;
  const auto [it, is_new] = shared_.try_emplace(key, automaton_.size());
  if (is_new) {
    automaton_.add_state();
    automaton_.add_edge(it->second, lo, hi, to);
  }
  return it->second;
}

void Utf8Edges::add(std::int32_t from, const CharSet& set, std::int32_t to) {
  for (const CharRange& range : set.ranges()) add_range(from, range.lo, range.hi, to);
}

/// Splits a range until all its members have the same length and every byte position is a range of its own.
void Utf8Edges::add_range(std::int32_t from, char32_t lo, char32_t hi, std::int32_t to) {
  for (const char32_t last : {0x7FU, 0x7FFU, 0xFFFFU}) {
    if (lo <= last && hi > last) {
      add_range(from, lo, last, to);
      return add_range(from, last + 1, hi, to);
    }
  }
  for (int tail = 1; tail <= 3 && hi > 0x7F; ++tail) {
    const char32_t mask = (char32_t{1} << (6 * tail)) - 1;
    if ((lo & ~mask) == (hi & ~mask)) break;
    if ((lo & mask) != 0) {
      add_range(from, lo, lo | mask, to);
      return add_range(from, (lo | mask) + 1, hi, to);
    }
    if ((hi & mask) != mask) {
      add_range(from, lo, (hi & ~mask) - 1, to);
      return add_range(from, hi & ~mask, hi, to);
    }
  }
  std::string first, last;
  base::append_utf8(first, lo);
  base::append_utf8(last, hi);
  for (std::size_t i = first.size() - 1; i > 0; --i) {
    to = before(static_cast<std::uint8_t>(first[i]), static_cast<std::uint8_t>(last[i]), to);
  }
  automaton_.add_edge(from, static_cast<std::uint8_t>(first[0]), static_cast<std::uint8_t>(last[0]), to);
}

void Utf8Edges::add_json(std::int32_t from, const CharSet& set, std::int32_t to) {
  static constexpr CharRange kEscaped[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
  CharSet plain = set;
  for (const CharRange& range : kEscaped) {
    plain = plain.without(CharSet({range}));
    for (char32_t c = range.lo; c <= range.hi; ++c) {
      if (set.contains(c)) add_escaped(from, c, to);
    }
  }
  add(from, plain, to);
}

void Utf8Edges::add_escaped(std::int32_t from, char32_t c, std::int32_t to) {
  static constexpr std::string_view kChars = "\b\t\n\f\r\"\\", kLetters = "btnfr\"\\";
  if (const auto at = c < 0x80 ? kChars.find(static_cast<char>(c)) : kChars.npos; at != kChars.npos) {
    const auto letter = static_cast<std::uint8_t>(kLetters[at]);
    return automaton_.add_edge(from, '\\', '\\', before(letter, letter, to));
  }
  const auto low = static_cast<std::uint8_t>("0123456789abcdef"[c & 15]);
  const auto high = static_cast<std::uint8_t>('0' + (c >> 4));
  const std::int32_t digits = before(high, high, before(low, low, to));
  automaton_.add_edge(from, '\\', '\\', before('u', 'u', before('0', '0', before('0', '0', digits))));
}

}  // namespace tw::text
