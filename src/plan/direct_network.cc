// Networks whose switches, or accelerators, join each other without tiers: tori and dragonflies.
#include <algorithm>

#include "plan/network.h"
#include "plan/torus.h"

namespace tw::plan {
namespace {

using base::Code;

/// The sizes that were asked for, or the most even ones.
base::Result<Torus> wanted_torus(const spec::NetworkSpec& s) {
  const std::int64_t n = s.endpoints();
  const int block = std::max(s.cube, 1);
  if (s.torus == "2d" || s.torus == "3d") {
    const int dims = s.torus == "2d" ? 2 : 3;
    if (n == 0)
      return base::error(Code::kInvalidArgument, "a torus needs --nodes, or sizes: --torus 16x16x16");
    if (auto even = even_torus(n, dims, block)) return *even;
    std::int64_t near = n;
    while (!even_torus(near, dims, block)) ++near;
    return base::error(Code::kInvalidArgument, "{} accelerators make no {} of blocks of {}: {} would, as {}",
                       n, s.torus, block, near, even_torus(near, dims, block)->text());
  }
  TW_ASSIGN_OR_RETURN(const Torus torus, parse_torus(s.torus));
  for (const int size : torus.sizes) {
    if (size % block == 0) continue;
    Torus near = torus;
    for (int& other : near.sizes) other = static_cast<int>(ceil_div(other, block)) * block;
    return base::error(Code::kInvalidArgument, "{} is not made of blocks with sides of {}: {} would be",
                       torus.text(), block, near.text());
  }
  if (n == 0 || n == torus.places()) return torus;
  std::string would;
  if (const auto near = even_torus(n, static_cast<int>(torus.sizes.size()), block)) {
    spec::NetworkSpec changed = s;
    changed.torus = near->text();
    if (size_torus(changed).ok()) would = ": " + near->text() + " would have";
  }
  return base::error(Code::kInvalidArgument, "{} has {} places, not {}{}", torus.text(), torus.places(), n,
                     would);
}

/// Switches of a group all meet; links between groups go to one switch after the other, `hosts` to each.
Wiring dragonfly_wiring(std::int64_t endpoints, std::int64_t hosts, std::int64_t routers, std::int64_t groups,
                        std::int64_t each, double rate) {
  Wiring w;
  for (std::int64_t i = 0; i < groups * routers; ++i)
    w.add(0, std::clamp<std::int64_t>(endpoints - i * hosts, 0, hosts));
  const auto connect = [&](std::int64_t a, std::int64_t b) {
    w.connect(static_cast<int>(a), static_cast<int>(b), 1, rate);
  };
  std::vector<std::int64_t> taken(groups, 0);
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t a = 0; a < routers; ++a) {
      for (std::int64_t b = a + 1; b < routers; ++b) connect(g * routers + a, g * routers + b);
    }
    for (std::int64_t other = g + 1; other < groups; ++other) {
      for (std::int64_t link = 0; link < each; ++link)
        connect(g * routers + taken[g]++ / hosts, other * routers + taken[other]++ / hosts);
    }
  }
  return w;
}

}  // namespace

base::Result<NetworkPlan> size_torus(const spec::NetworkSpec& s) {
  TW_ASSIGN_OR_RETURN(const Torus torus, wanted_torus(s));
  NetworkPlan p;
  p.spec = s;
  p.spec.torus = torus.text();
  p.endpoints = torus.places();
  p.shape = "a torus of " + torus.text();
  std::int64_t links = 0;
  for (const int size : torus.sizes) links += size > 1 ? torus.places() : 0;
  if (s.cube > 0) {
    // Each place on a block's face has one fibre to the optical switch of its row, where the fibre of the
    // opposite face of the same or another block ends too (arXiv 2304.01433, figure 1).
    const auto dims = static_cast<std::int64_t>(torus.sizes.size());
    const auto joined =
        std::count_if(torus.sizes.begin(), torus.sizes.end(), [](int size) { return size > 1; });
    std::int64_t face = 1, places = 1;
    for (std::int64_t i = 0; i < dims; ++i) places *= s.cube;
    face = places / s.cube;
    const std::int64_t blocks = torus.places() / places, used = 2 * blocks;
    if (used > s.optical_ports) {
      const std::int64_t most = std::max<std::int64_t>(1, s.optical_ports / 2) * places;
      return base::error(
          Code::kInvalidArgument,
          "{} blocks need optical switches of {} ports, but they have {}: up to {} accelerators would do",
          blocks, used, s.optical_ports, most);
    }
    const std::int64_t fibres = blocks * 2 * joined * face;
    p.tiers.push_back({"optical switch", joined * face * s.planes, s.optical_ports, s.nic.value, used, used,
                       0, s.nic.value, 0});
    p.cables.push_back({"inside blocks", (links - fibres / 2) * s.planes, s.nic.value, 0});
    p.cables.push_back({"block to optical switch", fibres * s.planes, s.nic.value, 1});
    p.checks.push_back({fmt::format("optical switch: {} of {} ports used", used, s.optical_ports), true});
    p.shape += fmt::format(", {} blocks joined by optical switches", blocks);
  } else {
    p.cables.push_back(
        {"neighbour to neighbour", links * s.planes, s.nic.value, s.endpoint_cable == "optical" ? 2 : 0});
  }
  p.checks.push_back({"a torus gives neighbours full rate, and no other traffic", false});
  p.bisection = torus.bisection_links() * s.nic.value * s.planes;
  p.hops = torus.diameter();
  return p;
}

base::Result<NetworkPlan> size_dragonfly(const spec::NetworkSpec& s) {
  // Balanced for uniform traffic, a = 2p = 2h (Kim et al., ISCA 2008).
  const std::int64_t hosts = (s.radix + 1) / 4, routers = 2 * hosts, global = hosts;
  if (hosts < 1)
    return base::error(Code::kInvalidArgument, "a dragonfly needs switches of at least 3 ports, not {}",
                       s.radix);
  TW_RETURN_IF_ERROR(check_nic_speed(s));
  const std::int64_t groups = ceil_div(s.endpoints(), hosts * routers), most = routers * global + 1;
  int radix = 3;  // the smallest that reaches so far
  const auto reached = [&](std::int64_t h) { return 2 * h * h * (2 * h * h + 1); };
  while (reached((radix + 1) / 4) < s.endpoints()) ++radix;
  const double wires = static_cast<double>(groups * routers) * static_cast<double>(routers + global) / 2;
  if (wires > kMostWires)
    return base::error(
        Code::kInvalidArgument,
        "{} groups of {} switches have {:.3g} links, and at most {:.3g} are wired: --radix {} reaches as "
        "far",
        groups, routers, wires, kMostWires, radix);
  if (groups > most) {
    const std::int64_t reach = most * hosts * routers / s.nics;
    return base::error(
        Code::kInvalidArgument,
        "a balanced dragonfly of {} ports reaches {} nodes of {} NICs, not {}: --radix {} would", s.radix,
        reach, s.nics, s.nodes, radix);
  }
  NetworkPlan p;
  p.spec = s;
  p.endpoints = s.endpoints();
  const double rate = s.port_speed.value;
  const std::int64_t each = groups > 1 ? routers * global / (groups - 1) : 0;
  p.shape = fmt::format("{} groups of {} switches, {} endpoints a switch, {} links between each two groups",
                        groups, routers, hosts, each);
  p.wiring = dragonfly_wiring(p.endpoints, hosts, routers, groups, each, rate);
  std::vector<std::int64_t> ports = p.wiring.hosts;
  for (const Wire& wire : p.wiring.wires) ++ports[wire.a], ++ports[wire.b];
  const std::int64_t used = *std::max_element(ports.begin(), ports.end());
  const std::int64_t pairs = groups * (groups - 1) / 2;
  p.tiers.push_back({"switch", groups * routers * s.planes, s.radix, rate, used, hosts, routers - 1 + global,
                     s.nic.value, rate});
  p.cables.push_back(
      {"endpoint to switch", p.endpoints * s.planes, s.nic.value, s.endpoint_cable == "optical" ? 2 : 0});
  p.cables.push_back({"inside groups", groups * routers * (routers - 1) / 2 * s.planes, rate, 0});
  p.cables.push_back({"between groups", pairs * each * s.planes, rate, 2});
  p.checks.push_back(
      {fmt::format("switch: {} of {} ports used by the fullest", used, s.radix), used <= s.radix});
  const auto in = static_cast<double>(hosts * routers) * s.nic.value, g = static_cast<double>(groups);
  const double out = static_cast<double>((groups - 1) * each) * rate;
  p.checks.push_back({fmt::format("uniform traffic: a group sends {:.3g} for 1 that leaves it at most",
                                  groups > 1 ? in * (g - 1) / g / out : 0),
                      groups == 1 || in * (g - 1) / g <= out * (1 + 1e-9)});
  p.checks.push_back({"between two groups alone, or two switches of one, fewer links than endpoints", false});
  const std::int64_t half = groups / 2, between = half * (groups - half) * each,
                     within = routers * routers / 4;
  const double cut = static_cast<double>(between) * rate;
  p.bisection = std::min(static_cast<double>(p.endpoints) * s.nic.value / 2,
                         groups > 1 ? cut : static_cast<double>(within) * rate) *
                s.planes;
  p.hops = groups > 1 ? 5 : 3;
  return p;
}

}  // namespace tw::plan
