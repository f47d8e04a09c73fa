// A network switch by switch and link by link: what sizes and claims of being non-blocking are checked on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tw::plan {

/// Cables between two switches.
struct Wire {
  int a = 0, b = 0;  ///< a stands below b, or beside it
  std::int64_t links = 0;
  double rate = 0;  ///< of one link and direction, bytes/s
};

/// Switches are numbers from 0. In a torus each accelerator is one.
struct Wiring {
  std::vector<std::int64_t> hosts;  ///< endpoints on each switch
  std::vector<int> tier;            ///< of each switch, from 0
  std::vector<Wire> wires;

  int switches() const { return static_cast<int>(tier.size()); }
  int add(int of_tier, std::int64_t with_hosts = 0);
  void connect(int a, int b, std::int64_t links, double rate) { wires.push_back({a, b, links, rate}); }
};

/// Cables on the longest of the shortest ways between two endpoints, by walking all of them. For small
/// networks.
int longest_way(const Wiring& wiring);

/// Bytes/s that go from the endpoints of some switches to those of the others, each way (maximal flow). For
/// small networks. `left`: of each switch, whether its endpoints send; `host_rate`: of one endpoint.
double flow_between(const Wiring& wiring, const std::vector<bool>& left, double host_rate);

}  // namespace tw::plan
