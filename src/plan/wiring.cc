#include "plan/wiring.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>

namespace tw::plan {

int Wiring::add(int of_tier, std::int64_t with_hosts) {
  tier.push_back(of_tier);
  hosts.push_back(with_hosts);
  return switches() - 1;
}

int longest_way(const Wiring& w) {
  std::vector<std::vector<int>> beside(w.tier.size());
  for (const Wire& wire : w.wires) {
    beside[wire.a].push_back(wire.b);
    beside[wire.b].push_back(wire.a);
  }
  int longest = 0;
  for (int from = 0; from < w.switches(); ++from) {
    if (w.hosts[from] == 0) continue;
    std::vector<int> way(w.tier.size(), -1);
    std::queue<int> next;
    next.push(from);
    way[from] = 0;
    while (!next.empty()) {
      const int at = next.front();
      next.pop();
      if (w.hosts[at] > 0) longest = std::max(longest, way[at]);
      for (const int to : beside[at]) {
        if (way[to] >= 0) continue;
        way[to] = way[at] + 1;
        next.push(to);
      }
    }
  }
  return longest;
}

namespace {

/// Maximal flow by blocking flows (Dinic 1970).
class Flow {
 public:
  explicit Flow(int vertices) : edges_of_(vertices), level_(vertices), at_(vertices) {}
  void edge(int from, int to, double capacity, double back) {
    edges_of_[from].push_back(static_cast<int>(edges_.size()));
    edges_.push_back({to, capacity});
    edges_of_[to].push_back(static_cast<int>(edges_.size()));
    edges_.push_back({from, back});
  }
  double run(int source, int sink) {
    double total = 0;
    while (levels(source, sink)) {
      std::fill(at_.begin(), at_.end(), 0);
      for (double more = 1; more > 0; total += more)
        more = push(source, sink, std::numeric_limits<double>::infinity());
    }
    return total;
  }

 private:
  struct Edge {
    int to;
    double left;
  };
  static constexpr double kNothing = 1e-3;  // bytes/s

  bool levels(int source, int sink) {
    std::fill(level_.begin(), level_.end(), -1);
    level_[source] = 0;
    std::queue<int> next;
    next.push(source);
    while (!next.empty()) {
      const int at = next.front();
      next.pop();
      for (const int e : edges_of_[at]) {
        if (edges_[e].left <= kNothing || level_[edges_[e].to] >= 0) continue;
        level_[edges_[e].to] = level_[at] + 1;
        next.push(edges_[e].to);
      }
    }
    return level_[sink] >= 0;
  }
  double push(int at, int sink, double most) {
    if (at == sink) return most;
    for (std::size_t& i = at_[at]; i < edges_of_[at].size(); ++i) {
      const int e = edges_of_[at][i];
      const int to = edges_[e].to;
      if (edges_[e].left <= kNothing || level_[to] != level_[at] + 1) continue;
      const double pushed = push(to, sink, std::min(most, edges_[e].left));
      if (pushed <= 0) continue;
      edges_[e].left -= pushed;
      edges_[e ^ 1].left += pushed;
      return pushed;
    }
    return 0;
  }

  std::vector<Edge> edges_;
  std::vector<std::vector<int>> edges_of_;
  std::vector<int> level_;
  std::vector<std::size_t> at_;
};

}  // namespace

double flow_between(const Wiring& w, const std::vector<bool>& left, double host_rate) {
  const int source = w.switches(), sink = source + 1;
  Flow flow(sink + 1);
  for (const Wire& wire : w.wires) {
    const double rate = static_cast<double>(wire.links) * wire.rate;
    flow.edge(wire.a, wire.b, rate, rate);
  }
  for (int s = 0; s < w.switches(); ++s) {
    const double rate = static_cast<double>(w.hosts[s]) * host_rate;
    if (rate <= 0) continue;
    if (left[s])
      flow.edge(source, s, rate, 0);
    else
      flow.edge(s, sink, rate, 0);
  }
  return flow.run(source, sink);
}

}  // namespace tw::plan
