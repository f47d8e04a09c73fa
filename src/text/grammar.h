// Context-free grammars over bytes, compiled from GBNF, regular expressions and JSON schemas.
//
// A Grammar is a recursive transition network: one automaton per rule, whose states read bytes, call rules,
// or jump. All rules that do not recurse are inlined where that is cheap, and made deterministic, so that
// most grammars are one plain automaton. GrammarMatcher (token_mask.h) runs it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::text {

class MaskCache;
class TokenTrie;

/// Immutable and shared; all methods may be called from any thread. Made by the compile functions below.
class Grammar {
 public:
  static constexpr std::int32_t kNone = -1;

  struct Call {
    std::int32_t rule;
    std::int32_t back;  ///< the state after the rule's sentence
    bool is_tail;       ///< nothing but the caller's own return follows `back`
  };

  std::int32_t state_count() const { return static_cast<std::int32_t>(states_.size()); }
  std::int32_t start(std::int32_t rule) const { return rules_[at(rule)].start; }
  /// Whether the empty text is a sentence of the rule.
  bool nullable(std::int32_t rule) const { return rules_[at(rule)].nullable; }

  /// The state after a byte, or kNone.
  std::int32_t next(std::int32_t state, std::uint8_t byte) const {
    const std::size_t cell = static_cast<std::size_t>(states_[at(state)].row) * class_count_ + classes_[byte];
    const std::int32_t delta = rows_[cell];
    return delta == kNoDelta ? kNone : state + delta;
  }
  /// Whether a sentence of the state's rule may end here.
  bool accepting(std::int32_t state) const { return states_[at(state)].accepting; }
  /// Whether the state only reads bytes: no calls, no jumps, not accepting.
  bool plain(std::int32_t state) const { return states_[at(state)].plain; }
  /// Whether any byte can still be read by this state within its rule.
  bool leads_on(std::int32_t state) const { return states_[at(state)].leads_on; }
  std::span<const Call> calls(std::int32_t state) const {
    const State& s = states_[at(state)];
    return {calls_.data() + s.first_call, s.call_count};
  }
  std::span<const std::int32_t> jumps(std::int32_t state) const {
    const State& s = states_[at(state)];
    return {jumps_.data() + s.first_jump, s.jump_count};
  }

  /// The masks already worked out for this grammar with this vocabulary; made when first asked for.
  std::shared_ptr<MaskCache> mask_cache(const std::shared_ptr<const TokenTrie>& trie) const;

  /// What of this grammar can be written with the vocabulary's tokens, worked out when first asked for: null
  /// when that is all of it. Fails as writable_part() does.
  base::Result<std::shared_ptr<const Grammar>> cut_to(const std::shared_ptr<const TokenTrie>& trie) const;

  /// Root is rule 0.
  static constexpr std::int32_t kRoot = 0;

 private:
  friend class GrammarAssembler;
  friend class GrammarCutter;
  static constexpr std::int32_t kNoDelta = INT32_MIN;
  struct State {
    std::uint32_t row = 0;
    std::uint32_t first_call = 0;
    std::uint32_t first_jump = 0;
    std::uint32_t call_count = 0;
    std::uint32_t jump_count = 0;
    bool accepting = false;
    bool plain = false;
    bool leads_on = false;
  };
  struct Rule {
    std::int32_t start = 0;
    bool nullable = false;
  };
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  void mark_leads_and_tails();

  std::array<std::uint8_t, 256> classes_{};  ///< bytes that no state tells apart share a class
  std::size_t class_count_ = 1;
  /// Rows hold `target - state`, so the copies of a counted repetition share their rows.
  std::vector<std::int32_t> rows_;
  std::vector<State> states_;
  std::vector<Call> calls_;
  std::vector<std::int32_t> jumps_;
  std::vector<Rule> rules_;

  mutable std::mutex cache_mutex_;
  mutable std::vector<std::pair<std::weak_ptr<const TokenTrie>, std::shared_ptr<MaskCache>>> caches_;
  mutable std::vector<std::pair<std::weak_ptr<const TokenTrie>, std::shared_ptr<const Grammar>>> cuts_;
};

using GrammarPtr = std::shared_ptr<const Grammar>;

/// llama.cpp's grammar notation, root rule `root`. Errors: kInvalidArgument (syntax, with line and column),
/// kUnsupported (a construct we lack), kResourceExhausted (too large).
base::Result<GrammarPtr> compile_gbnf(std::string_view source);

/// A regular expression in the ECMA notation that JSON Schema uses; the whole text must match. Look-around,
/// back-references, \b and Unicode properties are kUnsupported.
base::Result<GrammarPtr> compile_regex(std::string_view pattern);

/// JSON texts that satisfy the schema; json_schema.h tells what is enforced and in which form. What cannot be
/// enforced in full is kUnsupported, naming the keyword and its JSON pointer (in `where`).
base::Result<GrammarPtr> compile_json_schema(const base::OrderedJson& schema);

/// Any JSON object.
GrammarPtr json_object_grammar();

/// The grammar without the texts that have a byte which no token of the vocabulary has (a byte-level BPE need
/// not know all 256): else an answer could begin as a text that it cannot end. The grammar itself when
/// nothing has to go. Fails with kUnsupported, naming bytes, when nothing is left.
base::Result<GrammarPtr> writable_part(const GrammarPtr& grammar,
                                       const std::shared_ptr<const TokenTrie>& trie);

}  // namespace tw::text
