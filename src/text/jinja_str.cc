#include "text/jinja_str.h"

#include <algorithm>
#include <cstring>

#include "base/utf8.h"
#include "text/jinja_unicode_data.h"

namespace tw::text::jinja {
namespace {

/// Python's ASCII white space and the rest by the table.
bool space_at(std::string_view text, std::size_t pos, std::size_t& next) {
  next = pos;
  return is_space(base::decode_utf8(text, next));
}

/// Start of the character that ends before `end`.
std::size_t previous(std::string_view text, std::size_t end) {
  std::size_t pos = end - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) --pos;
  return pos;
}

template <typename Test>
std::string_view strip_while(std::string_view text, Side side, Test drop) {
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (side != Side::kRight && begin < end) {
    std::size_t next = begin;
    if (!drop(base::decode_utf8(text, next))) break;
    begin = next;
  }
  while (side != Side::kLeft && end > begin) {
    std::size_t pos = previous(text, end);
    const std::size_t start = pos;
    if (!drop(base::decode_utf8(text, pos))) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> split_space_left(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> out;
  text = strip(text, Side::kLeft);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(out.size()) == limit) {
      out.push_back(text);
      break;
    }
    std::size_t end = 0;
    std::size_t next = 0;
    while (end < text.size() && !space_at(text, end, next)) end = next;
    out.push_back(text.substr(0, end));
    text = strip(text.substr(end), Side::kLeft);
  }
  return out;
}

std::vector<std::string_view> split_space_right(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> out;
  text = strip(text, Side::kRight);
  while (!text.empty()) {
    if (static_cast<std::int64_t>(out.size()) == limit) {
      out.push_back(text);
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t pos = previous(text, start);
      std::size_t next = 0;
      if (space_at(text, pos, next)) break;
      start = pos;
    }
    out.push_back(text.substr(start));
    text = strip(text.substr(0, start), Side::kRight);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

bool ends_line(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return (char_flags(c) & kSpace) != 0;
}

std::uint32_t char_flags(char32_t c) {
  const std::span<const std::uint32_t> runs = flag_runs();
  const std::uint32_t key = static_cast<std::uint32_t>(c) << kFlagBits | ((1U << kFlagBits) - 1);
  const auto after = std::upper_bound(runs.begin(), runs.end(), key);
  return *(after - 1) & ((1U << kFlagBits) - 1);
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string_view strip(std::string_view text, Side side) {
  return strip_while(text, side, is_space);
}

std::string_view strip(std::string_view text, Side side, std::string_view chars) {
  std::u32string set = decode(chars);
  std::sort(set.begin(), set.end());
  return strip_while(text, side, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::u32string decode(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) out += base::decode_utf8(text, pos);
  return out;
}

std::string encode(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) base::append_utf8(out, c);
  return out;
}

std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // memmem, unlike find(), stays linear on hostile text.
  const void* at = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (at == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(at) - text.data());
}

std::size_t rfind_bytes(std::string_view text, std::string_view needle) {
  const std::string back(text.rbegin(), text.rend());
  const std::size_t at = find_bytes(back, std::string(needle.rbegin(), needle.rend()));
  return at == std::string_view::npos ? at : text.size() - at - needle.size();
}

std::size_t byte_offset(std::string_view text, std::size_t index) {
  std::size_t pos = 0;
  for (; pos < text.size(); ++pos) {
    if ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) continue;
    if (index == 0) return pos;
    --index;
  }
  return pos;
}

std::vector<std::string_view> split_space(std::string_view text, std::int64_t limit, bool from_right) {
  return from_right && limit >= 0 ? split_space_right(text, limit) : split_space_left(text, limit);
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t limit,
                                       bool from_right) {
  std::vector<std::string_view> out;
  if (from_right) {
    // Splitting the mirror image from the left keeps the search linear.
    const std::string back(text.rbegin(), text.rend());
    const std::string mirrored(separator.rbegin(), separator.rend());
    for (const std::string_view part : split_at(back, mirrored, limit, false)) {
      const auto begin = static_cast<std::size_t>(part.data() - back.data());
      out.push_back(text.substr(text.size() - begin - part.size(), part.size()));
    }
    std::reverse(out.begin(), out.end());
    return out;
  }
  std::size_t start = 0;
  while (limit < 0 || static_cast<std::int64_t>(out.size()) < limit) {
    const std::size_t at = find_bytes(text, separator, start);
    if (at == std::string_view::npos) break;
    out.push_back(text.substr(start, at - start));
    start = at + separator.size();
  }
  out.push_back(text.substr(start));
  return out;
}

std::size_t most_pieces(std::string_view text) {
  const auto may_separate = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x80;
  };
  return 1 + static_cast<std::size_t>(std::count_if(text.begin(), text.end(), may_separate));
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  std::size_t start = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t end = pos;
    const char32_t c = base::decode_utf8(text, pos);
    if (!ends_line(c)) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    out.push_back(text.substr(start, (keep_ends ? pos : end) - start));
    start = pos;
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

std::size_t replaced_size(std::string_view text, std::string_view from, std::string_view to,
                          std::int64_t limit) {
  std::size_t count = from.empty() ? code_points(text) + 1 : 0;
  for (std::size_t at = 0; !from.empty();) {
    at = find_bytes(text, from, at);
    if (at == std::string_view::npos) break;
    ++count;
    at += from.size();
  }
  if (limit >= 0) count = std::min(count, static_cast<std::size_t>(limit));
  return text.size() + count * to.size() - count * from.size();
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit) {
  std::string out;
  out.reserve(replaced_size(text, from, to, limit));
  std::size_t start = 0;
  for (std::int64_t done = 0; limit < 0 || done < limit; ++done) {
    const std::size_t at = find_bytes(text, from, start);
    if (at == std::string_view::npos) break;
    out.append(text.substr(start, at - start)).append(to);
    start = at + from.size();
    if (!from.empty()) continue;
    if (start == text.size()) return out;
    const std::size_t begin = start;
    base::decode_utf8(text, start);
    out.append(text.substr(begin, start - begin));
  }
  return out.append(text.substr(start));
}

std::string quoted(std::string_view text) {
  const bool use_double =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = use_double ? '"' : '\'';
  std::string out(1, quote);
  constexpr char kHex[] = "0123456789abcdef";
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = base::decode_utf8(text, pos);
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out.append(1, '\\').append(1, static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if ((char_flags(c) & kPrintable) != 0) {
      base::append_utf8(out, c);
    } else {
      const int width = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      out.append(width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U");
      for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += kHex[c >> shift & 15];
    }
  }
  return out += quote;
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace tw::text::jinja
