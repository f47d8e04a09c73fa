// From expressions to a Grammar: inlining, automata, pruning, tables. For the use of GrammarBuilder only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/grammar_builder.h"

namespace tw::text {

struct RuleSource {
  const std::vector<Expr>& exprs;
  const std::vector<ExprId>& bodies;  ///< by rule
  const std::vector<bool>& keep;      ///< by rule: never inline
  const GrammarLimits& limits;
};

/// Writes expressions into an automaton back to front: write(e, next) returns the state from which a sentence
/// of e leads to `next`. A shared expression with the same continuation is written once.
class NfaWriter {
 public:
  enum class Alphabet : std::uint8_t { kBytes, kCodePoints };
  NfaWriter(const std::vector<Expr>& exprs, Automaton& out, Alphabet alphabet, std::int32_t max_states)
      : exprs_(exprs), out_(out), utf8_(out), alphabet_(alphabet), max_states_(max_states) {}

  /// Rules whose body is written in place of a call; by rule, or none if not set.
  void set_inlined(const std::vector<bool>* inlined, const std::vector<ExprId>* bodies) {
    inlined_ = inlined;
    bodies_ = bodies;
  }
  std::int32_t write(ExprId expr, std::int32_t next);
  /// False when max_states was passed: the automaton is then not complete.
  bool ok() const { return out_.size() <= max_states_; }

 private:
  std::int32_t write_new(const Expr& expr, std::int32_t next);
  std::int32_t write_bytes(std::string_view text, std::int32_t next);
  std::int32_t write_chars(const CharSet& chars, std::int32_t next);
  std::int32_t write_repeat(const Expr& expr, std::int32_t next);
  std::int32_t write_ref(RuleId rule, std::int32_t next);
  std::int32_t write_automaton(const Expr& expr, std::int32_t next);

  const std::vector<Expr>& exprs_;
  Automaton& out_;
  Utf8Edges utf8_;
  Alphabet alphabet_;
  std::int32_t max_states_;
  const std::vector<bool>* inlined_ = nullptr;
  const std::vector<ExprId>* bodies_ = nullptr;
  std::unordered_map<std::uint64_t, std::int32_t> written_;
};

/// Which rules to write in place of their calls: those that do not recurse, if the copies stay few.
std::vector<bool> choose_inlined(const RuleSource& source, RuleId root);

/// The rules' automata, rule 0 being the root; each deterministic, or (rarely) with jumps.
struct RuleAutomata {
  std::vector<Automaton> rules;
  std::vector<bool> nullable;
};

/// Drops rules and states without sentences, turns calls of rules that read nothing into jumps, finds
/// nullable rules. Afterwards every state can still lead to a whole sentence.
void simplify(RuleAutomata& automata);

base::Result<GrammarPtr> assemble(const RuleAutomata& automata, const GrammarLimits& limits);

base::Result<GrammarPtr> compile_rules(const RuleSource& source, RuleId root);

}  // namespace tw::text
