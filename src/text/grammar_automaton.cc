#include "text/grammar_automaton.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace tw::text {
namespace {

using States = std::vector<std::int32_t>;

struct StatesHash {
  std::size_t operator()(const States& states) const {
    std::uint64_t h = 1469598103934665603ULL;
    for (const std::int32_t s : states) h = (h ^ static_cast<std::uint64_t>(s)) * 1099511628211ULL;
    return static_cast<std::size_t>(h ^ (h >> 29));
  }
};

/// The subset construction as an object: its fields are the tables that all steps share.
class Determinizer {
 public:
  Determinizer(const Automaton& nfa, const AutomatonLimits& limits)
      : nfa_(nfa), limits_(limits), mark_(static_cast<std::size_t>(nfa.size()), 0) {
    for (std::int32_t s = 0; s < nfa.size(); ++s) {
      nfa.each_jump(s, [&](const Automaton::Jump& jump) { has_guards_ |= jump.guard != Guard::kNone; });
    }
  }

  std::optional<Automaton> run() {
    if (nfa_.empty()) return Automaton{};
    // The start set is kept out of the table: it alone may pass kAtStart jumps, so it is never reached again.
    start_set(close({nfa_.start()}, true, false));
    for (std::int32_t d = 0; d < dfa_.size(); ++d) {
      expand(d);
      if (dfa_.size() > limits_.states || work_ > limits_.work) return std::nullopt;
    }
    return std::move(dfa_);
  }
  std::int64_t work() const { return work_; }

 private:
  /// All states reachable by jumps, sorted.
  States close(States from, bool at_start, bool at_end) {
    ++stamp_;
    States out;
    for (std::size_t i = 0; i < from.size(); ++i) mark_[static_cast<std::size_t>(from[i])] = stamp_;
    while (!from.empty()) {
      const std::int32_t s = from.back();
      from.pop_back();
      out.push_back(s);
      nfa_.each_jump(s, [&](const Automaton::Jump& jump) {
        ++work_;
        if (jump.guard == Guard::kAtStart && !at_start) return;
        if (jump.guard == Guard::kAtEnd && !at_end) return;
        if (std::exchange(mark_[static_cast<std::size_t>(jump.to)], stamp_) != stamp_)
          from.push_back(jump.to);
      });
    }
    work_ += static_cast<std::int64_t>(out.size());
    std::sort(out.begin(), out.end());
    return out;
  }

  /// Keeps the states that decide what the set can do: those with edges, with an end guard, or accepting.
  void keep_important(States& states) const {
    std::erase_if(states, [&](std::int32_t s) {
      bool important = nfa_.first_edge(s) >= 0 || nfa_.accepting(s);
      nfa_.each_jump(s, [&](const Automaton::Jump& jump) { important |= jump.guard == Guard::kAtEnd; });
      return !important;
    });
  }

  bool any_accepting(const States& states, bool at_start) {
    const auto accepting = [&](std::int32_t s) { return nfa_.accepting(s); };
    if (std::any_of(states.begin(), states.end(), accepting)) return true;
    if (!has_guards_) return false;
    const States at_end = close(states, at_start, true);
    return std::any_of(at_end.begin(), at_end.end(), accepting);
  }

  void start_set(States states) {
    dfa_.set_start(dfa_.add_state(any_accepting(states, true)));
    keep_important(states);
    sets_.push_back(std::move(states));
  }

  std::int32_t state_of(States states) {
    states = close(std::move(states), false, false);
    keep_important(states);
    const auto [it, is_new] = ids_.try_emplace(std::move(states), dfa_.size());
    if (is_new) {
      dfa_.add_state(any_accepting(it->first, false));
      sets_.push_back(it->first);
    }
    return it->second;
  }

  /// Cuts the edges of the set at every border, and joins neighbours that lead to the same set.
  void expand(std::int32_t d) {
    std::vector<Automaton::Edge> edges;
    for (const std::int32_t s : sets_[static_cast<std::size_t>(d)]) {
      nfa_.each_edge(s, [&](const Automaton::Edge& edge) { edges.push_back(edge); });
    }
    std::vector<std::uint64_t> borders;
    for (const auto& edge : edges) {
      borders.push_back(edge.lo);
      borders.push_back(static_cast<std::uint64_t>(edge.hi) + 1);
    }
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    std::sort(edges.begin(), edges.end(), [](const auto& a, const auto& b) { return a.lo < b.lo; });
    sweep(d, edges, borders);
  }

  void sweep(std::int32_t d, const std::vector<Automaton::Edge>& edges,
             const std::vector<std::uint64_t>& borders) {
    std::vector<Automaton::Edge> active;
    std::size_t next = 0;
    Automaton::Edge run{0, 0, -1, -1};
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
      const auto lo = static_cast<Symbol>(borders[i]), hi = static_cast<Symbol>(borders[i + 1] - 1);
      std::erase_if(active, [&](const auto& edge) { return edge.hi < lo; });
      while (next < edges.size() && edges[next].lo == lo) active.push_back(edges[next++]);
      work_ += static_cast<std::int64_t>(active.size()) + 1;
      if (work_ > limits_.work) return;
      if (active.empty()) continue;
      States targets;
      for (const auto& edge : active) targets.push_back(edge.to);
      std::sort(targets.begin(), targets.end());
      targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
      const std::int32_t to = state_of(std::move(targets));
      if (run.to == to && run.hi + 1 == lo) {
        run.hi = hi;
      } else {
        if (run.to >= 0) dfa_.add_edge(d, run.lo, run.hi, run.to);
        run = {lo, hi, to, -1};
      }
    }
    if (run.to >= 0) dfa_.add_edge(d, run.lo, run.hi, run.to);
  }

  const Automaton& nfa_;
  const AutomatonLimits limits_;
  Automaton dfa_;
  std::unordered_map<States, std::int32_t, StatesHash> ids_;
  std::vector<States> sets_;
  std::vector<std::uint32_t> mark_;
  std::uint32_t stamp_ = 0;
  std::int64_t work_ = 0;
  bool has_guards_ = false;
};

/// Marks what can reach an accepting state by usable edges, walking edges backwards.
std::vector<bool> live_states(const Automaton& a, const std::function<bool(Symbol)>& usable) {
  const auto n = static_cast<std::size_t>(a.size());
  std::vector<States> back(n);
  std::vector<bool> live(n, false);
  States todo;
  for (std::int32_t s = 0; s < a.size(); ++s) {
    a.each_edge(s, [&](const Automaton::Edge& edge) {
      if (!usable || usable(edge.lo)) back[static_cast<std::size_t>(edge.to)].push_back(s);
    });
    a.each_jump(s,
                [&](const Automaton::Jump& jump) { back[static_cast<std::size_t>(jump.to)].push_back(s); });
    if (a.accepting(s)) {
      live[static_cast<std::size_t>(s)] = true;
      todo.push_back(s);
    }
  }
  while (!todo.empty()) {
    const auto s = static_cast<std::size_t>(todo.back());
    todo.pop_back();
    for (const std::int32_t from : back[s]) {
      if (live[static_cast<std::size_t>(from)]) continue;
      live[static_cast<std::size_t>(from)] = true;
      todo.push_back(from);
    }
  }
  return live;
}

}  // namespace

std::int32_t Automaton::add_state(bool accepting) {
  states_.push_back({-1, -1, accepting});
  return size() - 1;
}

void Automaton::add_edge(std::int32_t from, Symbol lo, Symbol hi, std::int32_t to) {
  auto& head = states_[index(from)].edge;
  edges_.push_back({lo, hi, to, head});
  head = static_cast<std::int32_t>(edges_.size()) - 1;
}

void Automaton::add_jump(std::int32_t from, std::int32_t to, Guard guard) {
  auto& head = states_[index(from)].jump;
  jumps_.push_back({to, guard, head});
  head = static_cast<std::int32_t>(jumps_.size()) - 1;
}

std::optional<Automaton> determinize(const Automaton& nfa, const AutomatonLimits& limits,
                                     std::int64_t* spent) {
  Determinizer determinizer(nfa, limits);
  std::optional<Automaton> dfa = determinizer.run();
  if (spent != nullptr) *spent += determinizer.work();
  return dfa;
}

Automaton prune(const Automaton& a, const std::function<bool(Symbol)>& usable) {
  Automaton out;
  if (a.empty()) return out;
  const std::vector<bool> live = live_states(a, usable);
  if (!live[static_cast<std::size_t>(a.start())]) return out;
  States id(static_cast<std::size_t>(a.size()), -1);
  States order;
  const auto id_of = [&](std::int32_t s) {
    auto& known = id[static_cast<std::size_t>(s)];
    if (known < 0) {
      known = out.add_state(a.accepting(s));
      order.push_back(s);
    }
    return known;
  };
  out.set_start(id_of(a.start()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int32_t s = order[i], from = id[static_cast<std::size_t>(s)];
    a.each_edge(s, [&](const Automaton::Edge& edge) {
      if (!live[static_cast<std::size_t>(edge.to)] || (usable && !usable(edge.lo))) return;
      out.add_edge(from, edge.lo, edge.hi, id_of(edge.to));
    });
    a.each_jump(s, [&](const Automaton::Jump& jump) {
      if (live[static_cast<std::size_t>(jump.to)]) out.add_jump(from, id_of(jump.to), jump.guard);
    });
  }
  return out;
}

std::optional<Automaton> intersect(const Automaton& a, const Automaton& b, const AutomatonLimits& limits,
                                   std::int64_t* spent) {
  Automaton out;
  if (a.empty() || b.empty()) return out;
  std::unordered_map<std::uint64_t, std::int32_t> ids;
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
  std::int64_t work = 0;
  const auto id_of = [&](std::int32_t s, std::int32_t t) {
    const auto key = (static_cast<std::uint64_t>(s) << 32) | static_cast<std::uint32_t>(t);
    const auto [it, is_new] = ids.try_emplace(key, out.size());
    if (is_new) {
      out.add_state(a.accepting(s) && b.accepting(t));
      pairs.emplace_back(s, t);
    }
    return it->second;
  };
  out.set_start(id_of(a.start(), b.start()));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto [s, t] = pairs[i];
    a.each_edge(s, [&, t = t](const Automaton::Edge& x) {
      b.each_edge(t, [&](const Automaton::Edge& y) {
        ++work;
        const Symbol lo = std::max(x.lo, y.lo), hi = std::min(x.hi, y.hi);
        if (lo <= hi) out.add_edge(static_cast<std::int32_t>(i), lo, hi, id_of(x.to, y.to));
      });
    });
    if (out.size() > limits.states || work > limits.work) break;
  }
  if (spent != nullptr) *spent += work + out.size();
  if (out.size() > limits.states || work > limits.work) return std::nullopt;
  return prune(out);
}

Automaton complement(const Automaton& a, Symbol last) {
  Automaton out;
  for (std::int32_t s = 0; s < a.size(); ++s) out.add_state(!a.accepting(s));
  const std::int32_t sink = out.add_state(true);
  out.add_edge(sink, 0, last, sink);
  out.set_start(a.empty() ? sink : a.start());
  for (std::int32_t s = 0; s < a.size(); ++s) {
    std::vector<Automaton::Edge> edges;
    a.each_edge(s, [&](const Automaton::Edge& edge) { edges.push_back(edge); });
    std::sort(edges.begin(), edges.end(), [](const auto& x, const auto& y) { return x.lo < y.lo; });
    std::uint64_t next = 0;
    for (const auto& edge : edges) {
      if (edge.lo > next) out.add_edge(s, static_cast<Symbol>(next), edge.lo - 1, sink);
      out.add_edge(s, edge.lo, edge.hi, edge.to);
      next = static_cast<std::uint64_t>(edge.hi) + 1;
    }
    if (next <= last) out.add_edge(s, static_cast<Symbol>(next), last, sink);
  }
  return out;
}

bool accepts(const Automaton& dfa, const std::vector<Symbol>& string) {
  if (dfa.empty()) return false;
  std::int32_t state = dfa.start();
  for (const Symbol symbol : string) {
    std::int32_t to = -1;
    dfa.each_edge(state, [&](const Automaton::Edge& edge) {
      if (edge.lo <= symbol && symbol <= edge.hi) to = edge.to;
    });
    if (to < 0) return false;
    state = to;
  }
  return dfa.accepting(state);
}

}  // namespace tw::text
