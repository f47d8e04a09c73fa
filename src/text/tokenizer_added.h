// Finds added tokens (control, user-defined) in a text: leftmost first, the longest at each place.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tw::text {

/// A token found in a text, with the white space it takes along.
struct AddedMatch {
  std::size_t begin = 0;
  std::size_t end = 0;
  TokenId id = 0;
};

/// Immutable, thread-safe. Time: the text's length times, at worst, the longest added token.
class AddedTokens {
 public:
  /// Tokens with an empty text are left out.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);
  /// The first match at or after `from`; with end == 0 if there is none. `parse_special` as in EncodeOptions.
  AddedMatch find(std::string_view text, std::size_t from, bool parse_special) const;
  bool empty() const { return tokens_.empty(); }

 private:
  struct Node {
    unsigned char byte = 0;
    std::uint32_t child = 0, sibling = 0;
    std::int32_t token = -1;  ///< index in tokens_
  };
  void add(std::string_view text, std::int32_t token);
  std::uint32_t child_of(std::uint32_t node, unsigned char byte) const;
  /// The index of the longest token at pos, -1 if none.
  std::int32_t longest_at(std::string_view text, std::size_t pos, bool parse_special) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_{Node{}};
  std::array<bool, 256> first_any_{}, first_plain_{};
};

}  // namespace tw::text
