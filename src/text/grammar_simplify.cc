// simplify: keeps only what can be part of a sentence. All three passes are linear in the size of the
// grammar.
#include <algorithm>
#include <utility>

#include "text/grammar_compile.h"

namespace tw::text {
namespace {

struct Place {
  std::int32_t rule;
  std::int32_t state;
};

/// Facts that spread: a queue of (rule, state) pairs that have just become true.
class Marks {
 public:
  explicit Marks(const std::vector<Automaton>& rules) {
    for (const Automaton& rule : rules) marked_.emplace_back(static_cast<std::size_t>(rule.size()), false);
  }
  bool has(Place place) const { return marked_[at(place.rule)][at(place.state)]; }
  void mark(Place place) {
    if (has(place)) return;
    marked_[at(place.rule)][at(place.state)] = true;
    todo_.push_back(place);
  }
  bool pop(Place& place) {
    if (todo_.empty()) return false;
    place = todo_.back();
    todo_.pop_back();
    return true;
  }

 private:
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  std::vector<std::vector<bool>> marked_;
  std::vector<Place> todo_;
};

/// Which rules have a sentence. A state is live when it can reach an accepting state by bytes and by calls of
/// rules that have one.
std::vector<bool> productive_rules(const std::vector<Automaton>& rules) {
  struct Arrow {
    std::int32_t from;
    std::int32_t callee;  // -1: no call
  };
  std::vector<std::vector<std::vector<Arrow>>> back(rules.size());
  std::vector<std::vector<std::pair<Place, std::int32_t>>> callers(rules.size());  // (from, to) by callee
  std::vector<bool> productive(rules.size(), false);
  Marks live(rules);
  for (std::size_t r = 0; r < rules.size(); ++r) {
    const auto rule = static_cast<std::int32_t>(r);
    back[r].resize(static_cast<std::size_t>(rules[r].size()));
    for (std::int32_t s = 0; s < rules[r].size(); ++s) {
      rules[r].each_edge(s, [&](const Automaton::Edge& edge) {
        const std::int32_t callee = is_call(edge.lo) ? called_rule(edge.lo) : -1;
        back[r][static_cast<std::size_t>(edge.to)].push_back({s, callee});
        if (callee >= 0) callers[static_cast<std::size_t>(callee)].push_back({{rule, s}, edge.to});
      });
      rules[r].each_jump(
          s, [&](const Automaton::Jump& j) { back[r][static_cast<std::size_t>(j.to)].push_back({s, -1}); });
      if (rules[r].accepting(s)) live.mark({rule, s});
    }
  }
  Place place{};
  while (live.pop(place)) {
    const auto r = static_cast<std::size_t>(place.rule);
    for (const Arrow& arrow : back[r][static_cast<std::size_t>(place.state)]) {
      if (arrow.callee < 0 || productive[static_cast<std::size_t>(arrow.callee)])
        live.mark({place.rule, arrow.from});
    }
    if (place.state != rules[r].start() || productive[r]) continue;
    productive[r] = true;
    for (const auto& [from, to] : callers[r]) {
      if (live.has({from.rule, to})) live.mark(from);
    }
  }
  return productive;
}

/// Which rules have a sentence of at least one byte. REQUIRES: pruned.
std::vector<bool> reading_rules(const std::vector<Automaton>& rules) {
  std::vector<std::vector<std::int32_t>> callers(rules.size());
  std::vector<bool> reads(rules.size(), false);
  std::vector<std::int32_t> todo;
  for (std::size_t r = 0; r < rules.size(); ++r) {
    for (std::int32_t s = 0; s < rules[r].size(); ++s) {
      rules[r].each_edge(s, [&](const Automaton::Edge& edge) {
        const auto rule = static_cast<std::int32_t>(r);
        if (is_call(edge.lo))
          callers[static_cast<std::size_t>(called_rule(edge.lo))].push_back(rule);
        else if (!reads[r])
          todo.push_back(rule);
        if (!is_call(edge.lo)) reads[r] = true;
      });
    }
  }
  while (!todo.empty()) {
    const auto r = static_cast<std::size_t>(todo.back());
    todo.pop_back();
    for (const std::int32_t caller : callers[r]) {
      if (!reads[static_cast<std::size_t>(caller)]) todo.push_back(caller);
      reads[static_cast<std::size_t>(caller)] = true;
    }
  }
  return reads;
}

Automaton without_silent_calls(const Automaton& a, const std::vector<bool>& reads) {
  Automaton out;
  for (std::int32_t s = 0; s < a.size(); ++s) out.add_state(a.accepting(s));
  if (!a.empty()) out.set_start(a.start());
  for (std::int32_t s = 0; s < a.size(); ++s) {
    a.each_edge(s, [&](const Automaton::Edge& edge) {
      if (is_call(edge.lo) && !reads[static_cast<std::size_t>(called_rule(edge.lo))])
        out.add_jump(s, edge.to);
      else
        out.add_edge(s, edge.lo, edge.hi, edge.to);
    });
    a.each_jump(s, [&](const Automaton::Jump& jump) { out.add_jump(s, jump.to); });
  }
  return out;
}

/// Which rules have the empty sentence: states reached from their start without reading a byte.
std::vector<bool> nullable_rules(const std::vector<Automaton>& rules) {
  std::vector<bool> nullable(rules.size(), false);
  std::vector<std::vector<Place>> waiting(rules.size());  // states after a call, by callee
  Marks reached(rules);
  for (std::size_t r = 0; r < rules.size(); ++r) {
    if (!rules[r].empty()) reached.mark({static_cast<std::int32_t>(r), rules[r].start()});
  }
  Place place{};
  while (reached.pop(place)) {
    const auto r = static_cast<std::size_t>(place.rule);
    rules[r].each_jump(place.state,
                       [&](const Automaton::Jump& jump) { reached.mark({place.rule, jump.to}); });
    rules[r].each_edge(place.state, [&](const Automaton::Edge& edge) {
      if (!is_call(edge.lo)) return;
      const auto callee = static_cast<std::size_t>(called_rule(edge.lo));
      if (nullable[callee])
        reached.mark({place.rule, edge.to});
      else
        waiting[callee].push_back({place.rule, edge.to});
    });
    if (!rules[r].accepting(place.state) || nullable[r]) continue;
    nullable[r] = true;
    for (const Place& after : waiting[r]) reached.mark(after);
  }
  return nullable;
}

}  // namespace

void simplify(RuleAutomata& automata) {
  auto& rules = automata.rules;
  const std::vector<bool> productive = productive_rules(rules);
  const auto usable = [&](Symbol symbol) {
    return !is_call(symbol) || productive[static_cast<std::size_t>(called_rule(symbol))];
  };
  for (Automaton& rule : rules) rule = prune(rule, usable);
  const std::vector<bool> reads = reading_rules(rules);
  if (std::find(reads.begin(), reads.end(), false) != reads.end()) {
    for (Automaton& rule : rules) rule = without_silent_calls(rule, reads);
  }
  automata.nullable = nullable_rules(rules);
}

}  // namespace tw::text
