// Constrained decoding: which tokens may come next so that the text can still become a sentence of a grammar.
//
// How a mask is made: each state of the grammar has a cached part (tokens that stay within the state's own
// rule and the rules it calls) and a few trie nodes where the rule can be left in the middle of a token; only
// below those does the stack of the sequence matter, and only there does a mask cost a walk.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "text/grammar.h"
#include "text/grammar_stacks.h"
#include "text/token_mask_cache.h"
#include "text/token_trie.h"

namespace tw::text {

/// The state of one sequence. Not thread-safe, not even its const methods (they share scratch space); copies
/// are independent, so a copy may run ahead for speculative tokens. Grammars and tries are shared by all.
///
/// A grammar so ambiguous that one place has more than ParallelStacks::kMaxItems parses is cut off there: the
/// text is refused, and stuck() becomes true. A mask never offers a token for which it has no proof, and
/// after three million steps it offers what it has found (no grammar that people write comes near).
class GrammarMatcher {
 public:
  GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie);

  /// Sets bit t % 32 of word t / 32 for each token t that may come next and clears all others.
  /// End-of-generation tokens are the caller's: allow them when can_end(). REQUIRES: bits.size() >= the
  /// trie's mask_words().
  void fill_mask(std::span<std::uint32_t> bits) const;

  /// Takes a token. False, with the state unchanged, if it is not allowed.
  bool accept(std::int32_t token);
  /// Takes bytes, whole tokens or not. False, with the state unchanged, if they are not allowed.
  bool accept_text(std::string_view bytes);

  /// The text so far is a whole sentence.
  bool can_end() const { return frame_.complete; }
  /// It is, and nothing can follow.
  bool must_end() const { return can_end() && !stacks_.leads_on(frame_); }
  /// Neither the end nor any byte can follow, or a limit was why the last text was refused.
  bool stuck() const { return limited_ || (!can_end() && !stacks_.leads_on(frame_)); }

 private:
  std::shared_ptr<const StateMask> mask_of(std::int32_t state) const;

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<MaskCache> cache_;
  mutable ParallelStacks stacks_;  ///< fill_mask pushes and pops its trials
  ParallelStacks::Frame frame_;
  bool limited_ = false;
};

}  // namespace tw::text
