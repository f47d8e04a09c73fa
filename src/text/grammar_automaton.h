// Finite automata over an alphabet of 32-bit symbols: the workhorse of every grammar front end.
//
// Two alphabets are in use: code points (regular expressions, decoded JSON strings), and bytes plus rule
// calls (call_symbol(r) means "a whole sentence of rule r comes here").
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace tw::text {

using Symbol = std::uint32_t;

inline constexpr Symbol kFirstCall = 1U << 24;
/// Two apart, so that joining neighbouring symbols into a range never joins two rules.
constexpr Symbol call_symbol(std::int32_t rule) {
  return kFirstCall + 2 * static_cast<Symbol>(rule);
}
constexpr bool is_call(Symbol symbol) {
  return symbol >= kFirstCall;
}
constexpr std::int32_t called_rule(Symbol symbol) {
  return static_cast<std::int32_t>((symbol - kFirstCall) / 2);
}

/// When a jump (a move that reads nothing) may be taken.
enum class Guard : std::uint8_t {
  kNone,     ///< always
  kAtStart,  ///< only before the first symbol (the regex ^)
  kAtEnd,    ///< only after the last symbol (the regex $)
};

/// A finite automaton, deterministic or not. States are numbered from 0. Without states it accepts nothing.
/// Edges and jumps are kept in linked lists inside flat arrays, so a state costs 12 bytes.
class Automaton {
 public:
  struct Edge {
    Symbol lo;  ///< first symbol of an inclusive range
    Symbol hi;
    std::int32_t to;
    std::int32_t next;  ///< the next edge of the same state, or -1
  };
  struct Jump {
    std::int32_t to;
    Guard guard;
    std::int32_t next;
  };

  std::int32_t add_state(bool accepting = false);
  void add_edge(std::int32_t from, Symbol lo, Symbol hi, std::int32_t to);
  void add_jump(std::int32_t from, std::int32_t to, Guard guard = Guard::kNone);

  std::int32_t size() const { return static_cast<std::int32_t>(states_.size()); }
  bool empty() const { return states_.empty(); }
  std::size_t edge_count() const { return edges_.size(); }
  bool accepting(std::int32_t state) const { return states_[index(state)].accepting; }
  void set_accepting(std::int32_t state, bool accepting) { states_[index(state)].accepting = accepting; }
  std::int32_t start() const { return start_; }
  void set_start(std::int32_t state) { start_ = state; }

  /// The first edge or jump of a state, or -1; follow `next`.
  std::int32_t first_edge(std::int32_t state) const { return states_[index(state)].edge; }
  std::int32_t first_jump(std::int32_t state) const { return states_[index(state)].jump; }
  const Edge& edge(std::int32_t i) const { return edges_[index(i)]; }
  const Jump& jump(std::int32_t i) const { return jumps_[index(i)]; }

  /// Calls f(const Edge&) for every edge of a state.
  template <typename F>
  void each_edge(std::int32_t state, F&& f) const {
    for (std::int32_t i = first_edge(state); i >= 0; i = edges_[index(i)].next) f(edges_[index(i)]);
  }
  template <typename F>
  void each_jump(std::int32_t state, F&& f) const {
    for (std::int32_t i = first_jump(state); i >= 0; i = jumps_[index(i)].next) f(jumps_[index(i)]);
  }

 private:
  struct State {
    std::int32_t edge = -1;
    std::int32_t jump = -1;
    bool accepting = false;
  };
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<Jump> jumps_;
  std::int32_t start_ = 0;
};

/// What a construction may cost before it is given up.
struct AutomatonLimits {
  std::int32_t states = 100'000;   ///< of the result
  std::int64_t work = 20'000'000;  ///< elementary steps, about 10 ns each
};

/// The subset construction: the same language without jumps and with disjoint edges per state. Nothing when a
/// limit is met. `spent`, if given, is increased by the work done.
std::optional<Automaton> determinize(const Automaton& nfa, const AutomatonLimits& limits = {},
                                     std::int64_t* spent = nullptr);

/// The part that lies on a way from the start to an accepting state. `usable(symbol range's lo)` may forbid
/// edges (calls of rules that have no sentence); pass nullptr to allow all.
Automaton prune(const Automaton& automaton, const std::function<bool(Symbol)>& usable = nullptr);

/// Product of two deterministic automata: the sentences of both. Nothing when a limit is met.
std::optional<Automaton> intersect(const Automaton& a, const Automaton& b, const AutomatonLimits& limits = {},
                                   std::int64_t* spent = nullptr);

/// All strings over [0, last] that the deterministic `a` does not accept. The result is deterministic.
Automaton complement(const Automaton& a, Symbol last);

/// Whether the deterministic automaton accepts the string.
bool accepts(const Automaton& dfa, const std::vector<Symbol>& string);

}  // namespace tw::text
