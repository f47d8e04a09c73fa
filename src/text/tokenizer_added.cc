#include "text/tokenizer_added.h"

#include "base/utf8.h"
#include "text/tokenizer_unicode.h"

namespace tw::text {
namespace {

/// The start of the character that ends before pos.
std::size_t previous_char(std::string_view text, std::size_t pos) {
  std::size_t start = pos - 1;
  while (start > 0 && pos - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

char32_t char_at(std::string_view text, std::size_t pos) {
  return base::decode_utf8(text, pos);
}

bool inside_word(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0 && is_word_char(char_at(text, previous_char(text, begin)))) return true;
  return end < text.size() && is_word_char(char_at(text, end));
}

std::size_t space_before(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit && is_space(char_at(text, previous_char(text, begin))))
    begin = previous_char(text, begin);
  return begin;
}

std::size_t space_after(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    std::size_t next = end;
    if (!is_space(base::decode_utf8(text, next))) break;
    end = next;
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens) {
    if (token.text.empty()) continue;
    const auto first = static_cast<unsigned char>(token.text[0]);
    first_any_[first] = true;
    if (!token.special) first_plain_[first] = true;
    tokens_.push_back(token);
    add(token.text, static_cast<std::int32_t>(tokens_.size() - 1));
  }
}

std::uint32_t AddedTokens::child_of(std::uint32_t node, unsigned char byte) const {
  std::uint32_t child = nodes_[node].child;
  while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

void AddedTokens::add(std::string_view text, std::int32_t token) {
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    std::uint32_t child = child_of(node, byte);
    if (child == 0) {
      child = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({byte, 0, nodes_[node].child, -1});
      nodes_[node].child = child;
    }
    node = child;
  }
  if (nodes_[node].token < 0) nodes_[node].token = token;
}

std::int32_t AddedTokens::longest_at(std::string_view text, std::size_t pos, bool parse_special) const {
  std::int32_t best = -1;
  std::uint32_t node = 0;
  for (std::size_t i = pos; i < text.size(); ++i) {
    node = child_of(node, static_cast<unsigned char>(text[i]));
    if (node == 0) break;
    const std::int32_t token = nodes_[node].token;
    if (token >= 0 && (parse_special || !tokens_[token].special)) best = token;
  }
  return best;
}

AddedMatch AddedTokens::find(std::string_view text, std::size_t from, bool parse_special) const {
  const std::array<bool, 256>& first = parse_special ? first_any_ : first_plain_;
  for (std::size_t pos = from; pos < text.size(); ++pos) {
    if (!first[static_cast<unsigned char>(text[pos])]) continue;
    const std::int32_t index = longest_at(text, pos, parse_special);
    if (index < 0) continue;
    const AddedToken& token = tokens_[index];
    AddedMatch match{pos, pos + token.text.size(), token.id};
    if (token.single_word && inside_word(text, match.begin, match.end)) {
      pos = match.end - 1;
      continue;
    }
    if (token.lstrip) match.begin = space_before(text, match.begin, from);
    if (token.rstrip) match.end = space_after(text, match.end);
    return match;
  }
  return {};
}

}  // namespace tw::text
