#include "text/grammar_builder.h"

#include <algorithm>
#include <utility>

#include "text/grammar_compile.h"

namespace tw::text {

void GrammarBuilder::fail(std::string message) {
  if (status_.empty()) status_ = std::move(message);
}

ExprId GrammarBuilder::add(Expr expr) {
  for (const ExprId part : expr.parts) expr.depth = std::max(expr.depth, get(part).depth + 1);
  if (expr.depth > limits_.depth) {
    fail(fmt::format("the grammar nests deeper than {} levels: make it smaller", limits_.depth));
    expr = Expr{};
  }
  if (static_cast<std::int32_t>(exprs_.size()) >= limits_.exprs) {
    fail(fmt::format("the grammar has more than {} parts: make it smaller", limits_.exprs));
    return 0;
  }
  exprs_.push_back(std::move(expr));
  return static_cast<ExprId>(exprs_.size()) - 1;
}

ExprId GrammarBuilder::empty() {
  return add({});
}

ExprId GrammarBuilder::never() {
  Expr expr;
  expr.kind = Expr::Kind::kNever;
  return add(std::move(expr));
}

ExprId GrammarBuilder::bytes(std::string_view text) {
  if (text.empty()) return empty();
  Expr expr;
  expr.kind = Expr::Kind::kBytes;
  expr.bytes = text;
  return add(std::move(expr));
}

ExprId GrammarBuilder::chars(CharSet set) {
  if (set.empty()) return never();
  Expr expr;
  expr.kind = Expr::Kind::kChars;
  expr.chars = std::move(set);
  return add(std::move(expr));
}

ExprId GrammarBuilder::seq(std::vector<ExprId> parts) {
  for (const ExprId part : parts) {
    if (is_never(part)) return part;
  }
  std::erase_if(parts, [&](ExprId part) { return get(part).kind == Expr::Kind::kEmpty; });
  if (parts.empty()) return empty();
  if (parts.size() == 1) return parts[0];
  Expr expr;
  expr.kind = Expr::Kind::kSeq;
  expr.parts = std::move(parts);
  return add(std::move(expr));
}

ExprId GrammarBuilder::alt(std::vector<ExprId> parts) {
  std::erase_if(parts, [&](ExprId part) { return is_never(part); });
  if (parts.empty()) return never();
  if (parts.size() == 1) return parts[0];
  Expr expr;
  expr.kind = Expr::Kind::kAlt;
  expr.parts = std::move(parts);
  return add(std::move(expr));
}

ExprId GrammarBuilder::repeat(ExprId part, std::int32_t min, std::int32_t max) {
  if (max == 0 || get(part).kind == Expr::Kind::kEmpty) return empty();
  if (is_never(part)) return min == 0 ? empty() : part;
  if (min == 1 && max == 1) return part;
  // (x?){m,n} is x{0,n} and (x*){m,n} is x*: this keeps counted repetitions of optional parts from exploding.
  if (const Expr& inner = get(part); inner.kind == Expr::Kind::kRepeat && inner.min == 0) {
    if (inner.max == -1) return part;
    if (inner.max == 1) return repeat(inner.parts[0], 0, max);
  }
  Expr expr;
  expr.kind = Expr::Kind::kRepeat;
  expr.min = min;
  expr.max = max;
  expr.parts = {part};
  return add(std::move(expr));
}

ExprId GrammarBuilder::ref(RuleId rule) {
  Expr expr;
  expr.kind = Expr::Kind::kRef;
  expr.rule = rule;
  return add(std::move(expr));
}

ExprId GrammarBuilder::guard(Guard guard) {
  Expr expr;
  expr.kind = Expr::Kind::kGuard;
  expr.guard = guard;
  return add(std::move(expr));
}

ExprId GrammarBuilder::automaton(std::shared_ptr<const Automaton> dfa, bool json_escaped) {
  if (dfa->empty()) return never();
  Expr expr;
  expr.kind = Expr::Kind::kAutomaton;
  expr.automaton = std::move(dfa);
  expr.json_escaped = json_escaped;
  return add(std::move(expr));
}

RuleId GrammarBuilder::add_rule(bool keep) {
  if (static_cast<std::int32_t>(rules_.size()) >= limits_.rules) {
    fail(fmt::format("the grammar has more than {} rules: make it smaller", limits_.rules));
    return 0;
  }
  rules_.push_back({never(), keep});
  return static_cast<RuleId>(rules_.size()) - 1;
}

void GrammarBuilder::define(RuleId rule, ExprId body) {
  rules_[static_cast<std::size_t>(rule)].body = body;
}

namespace {
base::Error too_many_states() {
  return base::error(base::Code::kResourceExhausted,
                     "the pattern needs too many states: use smaller repetition counts or fewer patterns");
}
}  // namespace

base::Result<Automaton> GrammarBuilder::code_point_automaton(ExprId expr) {
  if (!ok()) return base::error(base::Code::kResourceExhausted, "{}", status_);
  Automaton nfa;
  NfaWriter writer(exprs_, nfa, NfaWriter::Alphabet::kCodePoints, limits_.nfa_states);
  nfa.set_start(writer.write(expr, nfa.add_state(true)));
  std::int64_t spent = 4 * std::int64_t{nfa.size()};
  std::optional<Automaton> dfa;
  if (writer.ok()) dfa = determinize(prune(nfa), pattern_limits(), &spent);
  limits_.work -= spent;
  if (!dfa || limits_.work < 0) return too_many_states();
  return prune(*dfa);
}

base::Result<Automaton> GrammarBuilder::intersected(const Automaton& a, const Automaton& b) {
  std::int64_t spent = 0;
  std::optional<Automaton> both = intersect(a, b, pattern_limits(), &spent);
  limits_.work -= spent;
  if (!both || limits_.work < 0) return too_many_states();
  return std::move(*both);
}

base::Result<GrammarPtr> GrammarBuilder::build(RuleId root) {
  if (!ok()) return base::error(base::Code::kResourceExhausted, "{}", status_);
  std::vector<ExprId> bodies;
  std::vector<bool> keep;
  for (const Rule& rule : rules_) {
    bodies.push_back(rule.body);
    keep.push_back(rule.keep);
  }
  return compile_rules({exprs_, bodies, keep, limits_}, root);
}

}  // namespace tw::text
