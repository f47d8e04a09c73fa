// The vocabulary as a trie over bytes, laid out for one fast pass in preorder.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tw::text {

/// Built once per vocabulary; immutable; all methods may be called from any thread.
class TokenTrie {
 public:
  /// A node in preorder: its children follow it, and `end` is the first node after its subtree. Node 0 is the
  /// root.
  struct Node {
    std::uint32_t end;
    std::uint32_t first_token;  ///< tokens_of(node) starts here
    std::uint16_t depth;        ///< bytes from the root
    std::uint8_t byte;          ///< the last of them
  };

  /// pieces[t] are the raw bytes of token t. Tokens with excluded[t] set (control tokens) and tokens without
  /// bytes are never offered; `excluded` may be shorter than `pieces`. A piece longer than 65,535 bytes is
  /// left out, too.
  TokenTrie(const std::vector<std::string>& pieces, const std::vector<bool>& excluded);

  std::int32_t vocab_size() const { return static_cast<std::int32_t>(offsets_.size()) - 1; }
  /// The number of 32-bit words of a mask.
  std::size_t mask_words() const { return (offsets_.size() - 1 + 31) / 32; }
  std::size_t max_depth() const { return max_depth_; }

  const std::vector<Node>& nodes() const { return nodes_; }
  std::span<const std::int32_t> tokens_of(std::uint32_t node) const {
    const std::uint32_t last = node + 1 < nodes_.size() ? nodes_[node + 1].first_token : token_count_;
    return {tokens_.data() + nodes_[node].first_token, last - nodes_[node].first_token};
  }
  /// The bytes of a token; empty for tokens that are never offered and for ids outside the vocabulary.
  std::string_view piece(std::int32_t token) const;

 private:
  std::string bytes_;
  std::vector<std::uint32_t> offsets_;  ///< vocab_size + 1
  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;  ///< by node, in preorder
  std::uint32_t token_count_ = 0;
  std::size_t max_depth_ = 0;
};

}  // namespace tw::text
