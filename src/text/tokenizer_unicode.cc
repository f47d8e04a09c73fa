#include "text/tokenizer_unicode.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "base/utf8.h"
#include "text/tokenizer_unicode_tables.h"

namespace tw::text {
namespace {

using namespace unicode;

template <typename T>
const T* find_range(const T* ranges, std::size_t count, char32_t c) {
  const T* end = ranges + count;
  const T* found =
      std::lower_bound(ranges, end, c, [](const T& range, char32_t key) { return range.last < key; });
  return found != end && found->first <= c ? found : nullptr;
}

int combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const ClassRange* range = find_range(kCombiningClasses, kCombiningClassesCount, c);
  return range == nullptr ? 0 : range->combining_class;
}

// Hangul syllables are composed by arithmetic: The Unicode Standard, section 3.12.
constexpr char32_t kHangulBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161, kTrailBase = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTrails = 28;
constexpr char32_t kHangulCount = kLeads * kVowels * kTrails;

const Decomposition* find_decomposition(char32_t c) {
  const auto find_in = [c](const Decomposition* table, std::size_t count) -> const Decomposition* {
    const Decomposition* found = std::lower_bound(
        table, table + count, c, [](const Decomposition& d, char32_t key) { return d.whole < key; });
    return found != table + count && found->whole == c ? found : nullptr;
  };
  const Decomposition* found = find_in(kComposing, kComposingCount);
  return found != nullptr ? found : find_in(kOneWay, kOneWayCount);
}

/// Decompositions nest at most four deep in Unicode, so the recursion is bounded by the table.
void decompose(char32_t c, std::u32string& out) {
  if (c >= kHangulBase && c < kHangulBase + kHangulCount) {
    const char32_t s = c - kHangulBase;
    out += kLeadBase + s / (kVowels * kTrails);
    out += kVowelBase + s % (kVowels * kTrails) / kTrails;
    if (s % kTrails != 0) out += kTrailBase + s % kTrails;
  } else if (const Decomposition* d = c < 0xC0 ? nullptr : find_decomposition(c)) {
    decompose(d->first, out);
    if (d->second != 0) out += d->second;  // second parts are never decomposed further but by U+0344
  } else {
    out += c;
  }
}

/// Puts each run of combining marks into the order of their classes, equal ones as they stood. Class, place
/// and mark are sorted as one number.
void order_marks(std::u32string& text) {
  constexpr int kPlaceBits = 32, kCharBits = 21;
  std::vector<std::uint64_t> keys;
  for (std::size_t begin = 0; begin < text.size();) {
    keys.clear();
    std::size_t end = begin;
    for (; end < text.size() && end - begin < std::size_t{1} << kPlaceBits; ++end) {
      const auto mark_class = static_cast<std::uint64_t>(combining_class(text[end]));
      if (mark_class == 0) break;
      keys.push_back((mark_class << kPlaceBits | (end - begin)) << kCharBits | text[end]);
    }
    std::sort(keys.begin(), keys.end());
    for (std::size_t i = 0; i < keys.size(); ++i) text[begin + i] = keys[i] & ((1u << kCharBits) - 1);
    begin = end + (keys.empty() ? 1 : 0);
  }
}

std::u32string decomposed(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) decompose(base::decode_utf8(text, pos), out);
  order_marks(out);
  return out;
}

std::uint64_t pair_key(char32_t a, char32_t b) {
  return static_cast<std::uint64_t>(a) << 32 | b;
}

/// The composing pairs by their parts; made once, then constant.
const std::unordered_map<std::uint64_t, char32_t>& compositions() {
  static const std::unordered_map<std::uint64_t, char32_t> kMap = [] {
    std::unordered_map<std::uint64_t, char32_t> made;
    for (std::size_t i = 0; i < kComposingCount; ++i) {
      made.emplace(pair_key(kComposing[i].first, kComposing[i].second), kComposing[i].whole);
    }
    return made;
  }();
  return kMap;
}

/// The character that two make, or 0.
char32_t composed(char32_t a, char32_t b) {
  if (a >= kLeadBase && a < kLeadBase + kLeads && b >= kVowelBase && b < kVowelBase + kVowels) {
    return kHangulBase + ((a - kLeadBase) * kVowels + (b - kVowelBase)) * kTrails;
  }
  const bool is_pair = a >= kHangulBase && a < kHangulBase + kHangulCount && (a - kHangulBase) % kTrails == 0;
  if (is_pair && b > kTrailBase && b < kTrailBase + kTrails) return a + (b - kTrailBase);
  const auto found = compositions().find(pair_key(a, b));
  return found == compositions().end() ? 0 : found->second;
}

/// Each character joins the last starter unless a mark of the same or a higher class stands between.
void compose(std::u32string& text) {
  std::size_t out = 0;
  std::size_t starter = std::u32string::npos;
  int last_class = -1;
  for (const char32_t c : text) {
    const int cls = combining_class(c);
    const bool blocked = last_class >= cls && last_class != -1;
    if (starter != std::u32string::npos && !blocked) {
      if (const char32_t whole = composed(text[starter], c)) {
        text[starter] = whole;
        continue;
      }
    }
    text[out] = c;
    last_class = cls;
    if (cls == 0) {
      starter = out;
      last_class = -1;
    }
    ++out;
  }
  text.resize(out);
}

std::string to_utf8(const std::u32string& text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) base::append_utf8(out, c);
  return out;
}

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_char(char32_t c) {
  return find_range(kWordChars, kWordCharsCount, c) != nullptr;
}
bool is_punctuation(char32_t c) {
  return find_range(kPunctuation, kPunctuationCount, c) != nullptr;
}
bool is_nonspacing_mark(char32_t c) {
  return c >= 0x300 && find_range(kNonspacingMarks, kNonspacingMarksCount, c) != nullptr;
}
bool is_mark(char32_t c) {
  return is_nonspacing_mark(c) || (c >= 0x300 && find_range(kOtherMarks, kOtherMarksCount, c) != nullptr);
}
bool is_control_char(char32_t c) {
  return find_range(kControls, kControlsCount, c) != nullptr;
}

bool is_cjk(char32_t c) {
  constexpr Range kBlocks[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                               {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                               {0x2B820, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  return find_range(kBlocks, std::size(kBlocks), c) != nullptr;
}

void append_lowercase(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return;
  }
  if (c == 0x130) {
    out += "i\xCC\x87";
    return;
  }
  const CaseRange* range = find_range(kLowercase, kLowercaseCount, c);
  const bool changes = range != nullptr && (c - range->first) % range->step == 0;
  base::append_utf8(out, changes ? static_cast<char32_t>(static_cast<std::int32_t>(c) + range->delta) : c);
}

std::string to_nfd(std::string_view text) {
  return to_utf8(decomposed(text));
}

std::string to_nfc(std::string_view text) {
  std::u32string characters = decomposed(text);
  compose(characters);
  return to_utf8(characters);
}

}  // namespace tw::text
