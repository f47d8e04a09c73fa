// From rule automata to the tables of a Grammar.
#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/grammar_compile.h"
#include "text/grammar_stacks.h"

namespace tw::text {

struct RowHash {
  std::size_t operator()(const std::vector<std::int32_t>& row) const {
    std::uint64_t h = row.size();
    for (const std::int32_t delta : row) h = (h ^ static_cast<std::uint32_t>(delta)) * 0x9E3779B97F4A7C15ULL;
    return static_cast<std::size_t>(h ^ (h >> 32));
  }
};

/// Fills a Grammar: the one class besides Grammar itself that sees its tables.
class GrammarAssembler {
 public:
  GrammarAssembler(const RuleAutomata& automata, const GrammarLimits& limits)
      : automata_(automata), limits_(limits), grammar_(std::make_shared<Grammar>()) {}

  base::Result<GrammarPtr> run() {
    number_states();
    if (total_ > limits_.states) return too_large();
    make_classes();
    for (std::size_t r = 0; r < automata_.rules.size(); ++r) {
      for (std::int32_t s = 0; s < automata_.rules[r].size(); ++s)
        add_state(automata_.rules[r], offsets_[r], s);
      if (grammar_->rows_.size() > limits_.cells) return too_large();
    }
    grammar_->mark_leads_and_tails();
    return GrammarPtr(std::move(grammar_));
  }

 private:
  base::Error too_large() const {
    return base::error(base::Code::kResourceExhausted,
                       "the grammar needs more than {} states: use fewer rules or smaller repetition counts",
                       limits_.states);
  }

  void number_states() {
    for (std::size_t r = 0; r < automata_.rules.size(); ++r) {
      const Automaton& rule = automata_.rules[r];
      offsets_.push_back(total_);
      grammar_->rules_.push_back({total_ + (rule.empty() ? 0 : rule.start()), automata_.nullable[r]});
      total_ += rule.size();
    }
  }

  void make_classes() {
    std::array<bool, 257> border{};
    border[0] = true;
    for (const Automaton& rule : automata_.rules) {
      for (std::int32_t s = 0; s < rule.size(); ++s) {
        rule.each_edge(s, [&](const Automaton::Edge& edge) {
          if (is_call(edge.lo)) return;
          border[edge.lo] = true;
          border[edge.hi + 1] = true;
        });
      }
    }
    std::size_t count = 0;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      if (border[byte]) ++count;
      grammar_->classes_[byte] = static_cast<std::uint8_t>(count - 1);
    }
    grammar_->class_count_ = count;
  }

  void add_state(const Automaton& rule, std::int32_t offset, std::int32_t s) {
    Grammar::State state;
    state.accepting = rule.accepting(s);
    state.first_call = static_cast<std::uint32_t>(grammar_->calls_.size());
    state.first_jump = static_cast<std::uint32_t>(grammar_->jumps_.size());
    std::vector<std::int32_t> deltas(grammar_->class_count_, Grammar::kNoDelta);
    rule.each_edge(s, [&](const Automaton::Edge& edge) {
      if (is_call(edge.lo)) {
        grammar_->calls_.push_back({called_rule(edge.lo), offset + edge.to, false});
        ++state.call_count;
        return;
      }
      state.leads_on = true;
      // Classes are numbered in the order of the bytes, and edges begin and end at their borders.
      const std::size_t first = grammar_->classes_[edge.lo], last = grammar_->classes_[edge.hi];
      for (std::size_t c = first; c <= last; ++c) deltas[c] = edge.to - s;
    });
    rule.each_jump(s, [&](const Automaton::Jump& jump) {
      grammar_->jumps_.push_back(offset + jump.to);
      ++state.jump_count;
    });
    state.leads_on |= state.call_count > 0;
    state.plain = !state.accepting && state.call_count == 0 && state.jump_count == 0;
    state.row = row_of(deltas);
    grammar_->states_.push_back(state);
  }

  std::uint32_t row_of(const std::vector<std::int32_t>& deltas) {
    const auto next = static_cast<std::uint32_t>(grammar_->rows_.size() / grammar_->class_count_);
    const auto [it, is_new] = known_rows_.try_emplace(deltas, next);
    if (is_new) grammar_->rows_.insert(grammar_->rows_.end(), deltas.begin(), deltas.end());
    return it->second;
  }

  const RuleAutomata& automata_;
  const GrammarLimits& limits_;
  std::shared_ptr<Grammar> grammar_;
  std::vector<std::int32_t> offsets_;
  std::unordered_map<std::vector<std::int32_t>, std::uint32_t, RowHash> known_rows_;
  std::int32_t total_ = 0;
};

/// REQUIRES: states that read or call are marked already. States with jumps lead on when a target does;
/// chains of jumps are short (see GrammarLimits::fallback_states).
void Grammar::mark_leads_and_tails() {
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t s = states_.size(); s-- > 0;) {
      State& state = states_[s];
      if (state.leads_on || state.jump_count == 0) continue;
      for (const std::int32_t to : jumps(static_cast<std::int32_t>(s))) state.leads_on |= leads_on(to);
      changed |= state.leads_on;
    }
  }
  for (Call& call : calls_) {
    const State& back = states_[at(call.back)];
    call.is_tail = back.accepting && !back.leads_on && back.jump_count == 0;
  }
}

base::Result<GrammarPtr> assemble(const RuleAutomata& automata, const GrammarLimits& limits) {
  return GrammarAssembler(automata, limits).run();
}

namespace {

/// A table row holds one target per byte: byte edges that overlap get states of their own.
Automaton split_overlaps(const Automaton& a) {
  Automaton out;
  for (std::int32_t s = 0; s < a.size(); ++s) out.add_state(a.accepting(s));
  if (!a.empty()) out.set_start(a.start());
  for (std::int32_t s = 0; s < a.size(); ++s) {
    std::array<bool, 256> taken{};
    a.each_jump(s, [&](const Automaton::Jump& jump) { out.add_jump(s, jump.to); });
    a.each_edge(s, [&](const Automaton::Edge& edge) {
      std::int32_t from = s;
      if (!is_call(edge.lo)) {
        if (std::find(&taken[edge.lo], &taken[0] + edge.hi + 1, true) != &taken[0] + edge.hi + 1) {
          from = out.add_state();
          out.add_jump(s, from);
        } else {
          std::fill(&taken[edge.lo], &taken[0] + edge.hi + 1, true);
        }
      }
      out.add_edge(from, edge.lo, edge.hi, edge.to);
    });
  }
  return out;
}

/// Deterministic if that does not explode, else as it is.
std::optional<Automaton> determinize_or_keep(const Automaton& nfa, const GrammarLimits& limits,
                                             std::int64_t& spent) {
  AutomatonLimits dfa_limits;
  dfa_limits.states = std::min(limits.states, 8 * nfa.size() + 500);
  dfa_limits.work = limits.work - spent;
  if (std::optional<Automaton> dfa = determinize(nfa, dfa_limits, &spent)) return dfa;
  if (nfa.size() > limits.fallback_states) return std::nullopt;
  return split_overlaps(nfa);
}

class RuleCompilation {
 public:
  RuleCompilation(const RuleSource& source, RuleId root)
      : source_(source), inlined_(choose_inlined(source, root)), number_(source.bodies.size(), -1) {
    number_of(root);
  }

  base::Result<GrammarPtr> run() {
    std::int64_t nfa_states = 0, spent = 0;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      Automaton nfa;
      const auto left = static_cast<std::int32_t>(source_.limits.nfa_states - nfa_states);
      NfaWriter writer(source_.exprs, nfa, NfaWriter::Alphabet::kBytes, left);
      writer.set_inlined(&inlined_, &source_.bodies);
      nfa.set_start(writer.write(source_.bodies[static_cast<std::size_t>(order_[i])], nfa.add_state(true)));
      nfa_states += nfa.size();
      if (!writer.ok()) return too_large();
      std::optional<Automaton> rule = determinize_or_keep(prune(renumbered(nfa)), source_.limits, spent);
      if (!rule) return too_large();
      automata_.rules.push_back(std::move(*rule));
    }
    simplify(automata_);
    if (automata_.rules[0].empty()) {
      return base::error(base::Code::kInvalidArgument,
                         "no text satisfies the grammar: remove the contradiction");
    }
    TW_ASSIGN_OR_RETURN(GrammarPtr grammar, assemble(automata_, source_.limits));
    // More parses at the very start than a matcher holds: it would be stuck before the first token.
    ParallelStacks stacks(*grammar);
    const ParallelStacks::Frame start = stacks.start();
    if (!start.complete && !stacks.leads_on(start)) return too_large();
    return grammar;
  }

 private:
  static base::Error too_large() {
    return base::error(
        base::Code::kResourceExhausted,
        "the grammar is too large or too ambiguous: use fewer rules or smaller repetition counts");
  }

  std::int32_t number_of(RuleId rule) {
    std::int32_t& number = number_[static_cast<std::size_t>(rule)];
    if (number < 0) {
      number = static_cast<std::int32_t>(order_.size());
      order_.push_back(rule);
    }
    return number;
  }

  /// Calls name rules by their number in the finished grammar.
  Automaton renumbered(const Automaton& nfa) {
    Automaton out;
    for (std::int32_t s = 0; s < nfa.size(); ++s) out.add_state(nfa.accepting(s));
    out.set_start(nfa.start());
    for (std::int32_t s = 0; s < nfa.size(); ++s) {
      nfa.each_jump(s, [&](const Automaton::Jump& jump) { out.add_jump(s, jump.to, jump.guard); });
      nfa.each_edge(s, [&](const Automaton::Edge& edge) {
        const Symbol lo = is_call(edge.lo) ? call_symbol(number_of(called_rule(edge.lo))) : edge.lo;
        out.add_edge(s, lo, is_call(edge.lo) ? lo : edge.hi, edge.to);
      });
    }
    return out;
  }

  const RuleSource& source_;
  std::vector<bool> inlined_;
  std::vector<std::int32_t> number_;
  std::vector<RuleId> order_;
  RuleAutomata automata_;
};

}  // namespace

base::Result<GrammarPtr> compile_rules(const RuleSource& source, RuleId root) {
  return RuleCompilation(source, root).run();
}

}  // namespace tw::text
