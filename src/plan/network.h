// What a network between accelerators is made of: switches by tier, cables, optics, power and money, and
// whether it is non-blocking, checked tier by tier and port by port.
#pragma once

#include <string>
#include <vector>

#include "plan/figure.h"
#include "plan/wiring.h"
#include "spec/network_spec.h"

namespace tw::plan {

struct SwitchTier {
  std::string name;                               ///< leaf, spine, core, switch, optical switch
  std::int64_t switches = 0;                      ///< of all planes
  int radix = 0;                                  ///< ports of one
  double port_rate = 0;                           ///< bytes/s
  std::int64_t ports_used = 0, down = 0, up = 0;  ///< of the fullest one; down and up are links
  double down_rate = 0, up_rate = 0;              ///< of one link, bytes/s
};

struct CableRun {
  std::string name;        ///< "endpoint to leaf"
  std::int64_t count = 0;  ///< of all planes
  double rate = 0;         ///< bytes/s
  int transceivers = 0;    ///< of one cable
};

struct NetworkCheck {
  std::string text;
  bool ok = true;
};

struct NetworkPlan {
  spec::NetworkSpec spec;  ///< with what was left open filled in
  /// Where the speeds of leaves' and spines' ports and of the links between switches come from; the
  /// endpoints' own is what was asked for.
  Provenance leaf_speed = Provenance::kAssumed, spine_speed = Provenance::kAssumed,
             between_speed = Provenance::kAssumed;
  std::int64_t endpoints = 0;
  std::string shape;  ///< in words
  std::vector<SwitchTier> tiers;
  std::vector<CableRun> cables;
  std::vector<NetworkCheck> checks;
  bool non_blocking = false;  ///< any permutation of the endpoints can be routed at full rate
  double bisection = 0;       ///< bytes/s each way between two halves
  int hops = 0;               ///< cables on the longest shortest way between two endpoints
  Wiring wiring;              ///< of one plane; empty for a torus (see torus_wiring)
  std::vector<Figure> figures;

  std::int64_t switches() const {
    std::int64_t sum = 0;
    for (const SwitchTier& tier : tiers) sum += tier.switches;
    return sum;
  }
};

/// Sizes what is asked for. What cannot be built fails with one line that names the nearest that can.
base::Result<NetworkPlan> size_network(const spec::NetworkSpec& spec);

/// Endpoints that a fat tree without oversubscription reaches when all ports have one speed: R^2/2 in two
/// tiers of R, R^3/4 in three (Al-Fares et al., SIGCOMM 2008).
base::Result<double> fat_tree_reach(int tiers, int leaf_ports, int spine_ports);

/// Wires that are laid out one by one at most: a quarter of a gigabyte.
inline constexpr double kMostWires = 8e6;

/// Whether a switch's port can be split into NICs.
base::Status check_nic_speed(const spec::NetworkSpec& spec);

/// The parts of size_network by topology; they leave the figures out. `spec` is resolved.
base::Result<NetworkPlan> size_fat_tree(const spec::NetworkSpec& spec);
base::Result<NetworkPlan> size_torus(const spec::NetworkSpec& spec);
base::Result<NetworkPlan> size_dragonfly(const spec::NetworkSpec& spec);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// "400 Gb/s".
std::string line_rate_text(double bytes_per_second);

}  // namespace tw::plan
