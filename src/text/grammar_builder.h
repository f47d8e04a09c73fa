// Expressions and rules that the front ends (GBNF, regex, JSON schema) build, and their compilation to a
// Grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar.h"
#include "text/grammar_automaton.h"
#include "text/grammar_chars.h"

namespace tw::text {

using ExprId = std::int32_t;
using RuleId = std::int32_t;

/// One node of an expression; nodes may be shared (the expressions form a graph without cycles; only rules
/// recurse).
struct Expr {
  enum class Kind : std::uint8_t {
    kEmpty,
    kNever,
    kBytes,
    kChars,
    kSeq,
    kAlt,
    kRepeat,
    kRef,
    kGuard,
    kAutomaton
  };
  Kind kind = Kind::kEmpty;
  Guard guard = Guard::kNone;     ///< kGuard
  bool json_escaped = false;      ///< kAutomaton over code points: write them as inside a JSON string
  std::int32_t depth = 1;         ///< nesting, limited
  std::int32_t min = 0, max = 0;  ///< kRepeat; max -1 is unbounded
  RuleId rule = -1;               ///< kRef
  std::string bytes;              ///< kBytes
  CharSet chars;                  ///< kChars
  std::vector<ExprId> parts;      ///< kSeq, kAlt; kRepeat has one
  std::shared_ptr<const Automaton> automaton;  ///< kAutomaton: deterministic, over code points
};

/// Hard limits: hostile grammars are refused with kResourceExhausted.
struct GrammarLimits {
  std::int32_t exprs = 500'000;
  std::int32_t rules = 20'000;
  std::int32_t depth = 2'000;            ///< nesting of expressions (an object's properties nest, too)
  std::int32_t nfa_states = 400'000;     ///< of all rules together
  std::int32_t states = 200'000;         ///< of the finished grammar
  std::int32_t fallback_states = 4'000;  ///< a rule whose determinization explodes may have this many states
  std::int64_t work = 40'000'000;        ///< elementary steps of all determinizations together
  std::size_t cells = 16'000'000;        ///< of the transition table
};

/// Not thread-safe; one per compilation. A limit that is met is remembered and returned by build().
class GrammarBuilder {
 public:
  explicit GrammarBuilder(GrammarLimits limits = {}) : limits_(limits) {}

  ExprId empty();
  ExprId never();
  ExprId bytes(std::string_view text);
  ExprId chars(CharSet set);
  ExprId seq(std::vector<ExprId> parts);
  ExprId alt(std::vector<ExprId> parts);
  /// max = -1: no upper bound. REQUIRES: 0 <= min, and min <= max unless max is -1.
  ExprId repeat(ExprId part, std::int32_t min, std::int32_t max);
  ExprId optional(ExprId part) { return repeat(part, 0, 1); }
  ExprId ref(RuleId rule);
  /// The regex anchors; only in expressions given to code_point_automaton().
  ExprId guard(Guard guard);
  /// The strings of a deterministic automaton over code points, raw or as the inside of a JSON string.
  ExprId automaton(std::shared_ptr<const Automaton> dfa, bool json_escaped);

  /// A new rule without a body. A rule with `keep` is always called, never inlined, so that its masks are
  /// shared.
  RuleId add_rule(bool keep = false);
  void define(RuleId rule, ExprId body);

  bool is_never(ExprId expr) const { return get(expr).kind == Expr::Kind::kNever; }
  const Expr& get(ExprId expr) const { return exprs_[static_cast<std::size_t>(expr)]; }
  /// False once a limit is met: a front end may then stop early.
  bool ok() const { return status_.empty(); }

  /// The expression as a deterministic automaton over code points. REQUIRES: it has no kRef, kBytes,
  /// kAutomaton.
  /// All work on automata, here and in build(), comes out of one budget (GrammarLimits::work).
  base::Result<Automaton> code_point_automaton(ExprId expr);
  /// The strings of both automata.
  base::Result<Automaton> intersected(const Automaton& a, const Automaton& b);

  /// Fails with kResourceExhausted (limits) and kInvalidArgument (no text at all satisfies the grammar).
  base::Result<GrammarPtr> build(RuleId root);

 private:
  struct Rule {
    ExprId body = 0;
    bool keep = false;
  };
  ExprId add(Expr expr);
  void fail(std::string message);
  AutomatonLimits pattern_limits() const { return {limits_.states / 4, limits_.work / 4}; }

  GrammarLimits limits_;
  std::vector<Expr> exprs_;
  std::vector<Rule> rules_;
  std::string status_;
};

}  // namespace tw::text
