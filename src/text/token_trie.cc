#include "text/token_trie.h"

#include <algorithm>
#include <numeric>

namespace tw::text {

TokenTrie::TokenTrie(const std::vector<std::string>& pieces, const std::vector<bool>& excluded) {
  offsets_.push_back(0);
  for (std::size_t t = 0; t < pieces.size(); ++t) {
    const bool offered = !(t < excluded.size() && excluded[t]) && pieces[t].size() <= UINT16_MAX;
    if (offered) bytes_ += pieces[t];
    offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  std::vector<std::int32_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::int32_t t) { return piece(t).empty(); });
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return piece(a) != piece(b) ? piece(a) < piece(b) : a < b;
  });

  nodes_.push_back({0, 0, 0, 0});
  std::vector<std::uint32_t> path{0};  // the nodes from the root to the previous token
  std::string_view previous;
  for (const std::int32_t token : order) {
    const std::string_view text = piece(token);
    const auto [end, ignored] = std::mismatch(previous.begin(), previous.end(), text.begin(), text.end());
    const auto common = static_cast<std::size_t>(end - previous.begin());
    for (; path.size() > common + 1; path.pop_back())
      nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
    for (std::size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<std::uint32_t>(tokens_.size()), static_cast<std::uint16_t>(i + 1),
                        static_cast<std::uint8_t>(text[i])});
    }
    tokens_.push_back(token);
    previous = text;
    max_depth_ = std::max(max_depth_, text.size());
  }
  for (const std::uint32_t node : path) nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  token_count_ = static_cast<std::uint32_t>(tokens_.size());
}

std::string_view TokenTrie::piece(std::int32_t token) const {
  if (token < 0 || token >= vocab_size()) return {};
  const auto t = static_cast<std::size_t>(token);
  return std::string_view(bytes_).substr(offsets_[t], offsets_[t + 1] - offsets_[t]);
}

}  // namespace tw::text
