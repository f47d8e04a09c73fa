// Helpers of the grammar tests: vocabularies, and texts against grammars.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar.h"
#include "text/token_mask.h"

namespace tw::text::testing {

/// All 256 bytes as tokens 0..255, then pieces such as real vocabularies have: words with and without a
/// leading space, JSON punctuation, digits, indentation, halves of UTF-8 characters.
std::vector<std::string> sample_pieces();

/// The trie of sample_pieces(), nothing excluded.
std::shared_ptr<const TokenTrie> sample_trie();

/// REQUIRES: the grammar is valid.
std::shared_ptr<const Grammar> gbnf(std::string_view source);

/// Whether the text is a whole sentence of the grammar.
bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text);

/// The longest accepted prefix, for messages.
std::string accepted_prefix(const std::shared_ptr<const Grammar>& grammar, std::string_view text);

inline bool bit(const std::vector<std::uint32_t>& mask, std::int32_t token) {
  return (mask[static_cast<std::size_t>(token) >> 5] >> (token & 31)) & 1U;
}

/// Draws allowed tokens at random, prefers to end after `soft_limit` tokens, gives up after `hard_limit`.
/// Returns whether a sentence was finished; the text is in `out`. With `check`, every mask is compared with
/// accept() on copies, token by token.
bool random_walk(const std::shared_ptr<const Grammar>& grammar, const std::shared_ptr<const TokenTrie>& trie,
                 std::mt19937& random, int hard_limit, bool check, std::string& out);

}  // namespace tw::text::testing
