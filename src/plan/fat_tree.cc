// Folded Clos networks of one to three tiers, where the rails of a node may each have leaves of their own.
#include <algorithm>
#include <cmath>
#include <vector>

#include "plan/network.h"

namespace tw::plan {
namespace {

using base::Code;

/// What there is to build with. Rates are in bytes/s; a port can be split into 2, 4 or 8 of its speed.
struct Box {
  int leaf_ports = 0, spine_ports = 0;
  double leaf_rate = 0, spine_rate = 0, nic = 0, link = 0;
  double ratio = 1;  ///< down over up that a leaf may have

  std::int64_t nic_split() const { return std::llround(leaf_rate / nic); }
  std::int64_t leaf_split() const { return std::llround(leaf_rate / link); }
  std::int64_t lanes() const { return spine_ports * std::llround(spine_rate / link); }
};

bool splits(double whole, double part) {
  const double pieces = whole / part;
  return pieces > 0.99 && pieces < 8.01 &&
         std::fabs(std::log2(pieces) - std::round(std::log2(pieces))) < 1e-6;
}

struct Leaf {
  std::int64_t down = 0, up = 0;
};

/// Links up that so many endpoints need.
std::int64_t needed_up(const Box& box, std::int64_t down) {
  return std::max<std::int64_t>(
      1, std::llround(std::ceil(static_cast<double>(down) * box.nic / (box.ratio * box.link) - 1e-9)));
}

std::int64_t leaf_ports(const Box& box, const Leaf& leaf) {
  return ceil_div(leaf.down, box.nic_split()) + ceil_div(leaf.up, box.leaf_split());
}

/// The most endpoints that the ratio and the ports let in.
Leaf fullest_leaf(const Box& box, std::int64_t up = 0) {
  for (std::int64_t down = box.leaf_ports * box.nic_split(); down > 0; --down) {
    const Leaf leaf{down, up > 0 ? up : needed_up(box, down)};
    if (leaf_ports(box, leaf) <= box.leaf_ports) return leaf;
  }
  return {};
}

/// Numbers of a tree that reaches far enough.
struct Tree {
  int tiers = 1, rails = 1;
  Leaf leaf;
  std::int64_t leaves = 1, pods = 1, pod_leaves = 1, pod_spines = 0, pair_links = 0;
  std::int64_t group = 0, core_links = 0;  ///< cores above each spine of a pod, and its links to one of them

  std::int64_t spines() const { return pods * pod_spines; }
  std::int64_t cores() const { return pod_spines * group; }
};

/// The smallest divisor d of `links` for which `below` switches with links / d each fill no more than
/// `lanes`; 0: none.
std::int64_t fewest(std::int64_t links, std::int64_t below, std::int64_t lanes) {
  for (std::int64_t d = 1; d <= links; ++d) {
    if (links % d == 0 && below * (links / d) <= lanes) return d;
  }
  return 0;
}

/// Leaves that so many tiers can join; with rails a multiple of them.
std::int64_t most_leaves(const Box& box, int tiers, int rails) {
  if (tiers == 1) return rails;
  const std::int64_t pod = (tiers == 2 ? box.lanes() : box.lanes() / 2) / rails * rails;
  return tiers == 2 ? pod : pod * box.lanes();
}

class Builder {
 public:
  Builder(const spec::NetworkSpec& s, int tiers, double link, bool suggest)
      : s_(s), tiers_(tiers), suggest_(suggest) {
    box_ = {s.radix,     s.spine_radix, s.port_speed.value, s.spine_speed.value,
            s.nic.value, link,          s.oversubscription};
    rails_ = s.topology == "rail" ? s.nics : 1;
  }

  /// kResourceExhausted: these tiers do not reach so far; then reach_nodes() says how far they do.
  base::Result<Tree> tree() {
    TW_RETURN_IF_ERROR(choose_leaf());
    Tree t;
    t.tiers = tiers_, t.rails = rails_, t.leaf = leaf_;
    t.leaves = rails_ > 1 ? rails_ * ceil_div(s_.nodes, leaf_.down) : ceil_div(s_.endpoints(), leaf_.down);
    if (t.leaves > most_leaves(box_, tiers_, rails_))
      return base::error(Code::kResourceExhausted, "not far enough");
    t.pod_leaves = t.leaves;
    if (tiers_ == 2) {
      t.pod_spines = fewest(leaf_.up, t.leaves, box_.lanes());
      t.pair_links = leaf_.up / t.pod_spines;
    } else if (tiers_ == 3) {
      t.pod_leaves = box_.lanes() / 2 / rails_ * rails_;
      t.pods = ceil_div(t.leaves, t.pod_leaves);
      t.pod_spines = leaf_.up, t.pair_links = 1;
      t.group = fewest(t.pod_leaves, t.pods, box_.lanes());
      t.core_links = t.pod_leaves / t.group;
    }
    const double wires = static_cast<double>(t.leaves) * static_cast<double>(t.pod_spines) +
                         static_cast<double>(t.spines()) * static_cast<double>(t.group);
    if (wires > kMostWires)
      return base::error(
          Code::kInvalidArgument,
          "{:.3g} pairs of switches are joined, and at most {:.3g} are wired: leaves with more endpoints "
          "need fewer",
          wires, kMostWires);
    return t;
  }
  /// Nodes that the tiers reach.
  std::int64_t reach_nodes() const {
    const std::int64_t leaves = most_leaves(box_, tiers_, rails_);
    return rails_ > 1 ? leaves / rails_ * leaf_.down : leaves * leaf_.down / s_.nics;
  }
  const Box& box() const { return box_; }

 private:
  /// ": leaf-up 32 would fit", if it does.
  std::string would(int spec::NetworkSpec::* field, const char* name, std::int64_t value) const;
  base::Status choose_leaf() {
    if (tiers_ == 1) {
      leaf_ = {box_.leaf_ports * box_.nic_split(), 0};
      if (s_.leaf_down > 0) leaf_.down = std::min<std::int64_t>(leaf_.down, s_.leaf_down);
      return base::Ok{};
    }
    if (s_.leaf_down == 0) {
      leaf_ = fullest_leaf(box_, s_.leaf_up);
      if (leaf_.down > 0) return base::Ok{};
      return base::error(Code::kInvalidArgument,
                         "a leaf of {} ports has none left for endpoints besides {} links up{}",
                         box_.leaf_ports, std::max(s_.leaf_up, 1),
                         would(&spec::NetworkSpec::leaf_up, "leaf-up", fullest_leaf(box_).up));
    }
    leaf_ = {s_.leaf_down, s_.leaf_up > 0 ? s_.leaf_up : needed_up(box_, s_.leaf_down)};
    const std::int64_t ports = leaf_ports(box_, leaf_);
    if (ports <= box_.leaf_ports) return base::Ok{};
    return base::error(
        Code::kInvalidArgument, "a leaf needs {} ports for {} endpoints and {} links up, but has {}{}", ports,
        leaf_.down, leaf_.up, box_.leaf_ports,
        would(&spec::NetworkSpec::leaf_down, "leaf-down", fullest_leaf(box_, s_.leaf_up).down));
  }

  const spec::NetworkSpec& s_;
  int tiers_, rails_ = 1;
  bool suggest_;
  Box box_;
  Leaf leaf_;
};

/// Link by link. Of rails, leaf r of a group serves NIC r of the group's nodes.
Wiring wire(const spec::NetworkSpec& s, const Tree& t, const Box& box) {
  Wiring w;
  const std::int64_t whole = s.endpoints();
  for (std::int64_t i = 0; i < t.leaves; ++i) {
    const std::int64_t first = (t.rails > 1 ? i / t.rails : i) * t.leaf.down;
    w.add(0, std::clamp<std::int64_t>((t.rails > 1 ? s.nodes : whole) - first, 0, t.leaf.down));
  }
  if (t.tiers == 1) return w;
  for (std::int64_t i = 0; i < t.spines(); ++i) w.add(1);
  for (std::int64_t i = 0; i < t.cores(); ++i) w.add(2);
  const std::int64_t first_core = t.leaves + t.spines();
  for (std::int64_t pod = 0; pod < t.pods; ++pod) {
    for (std::int64_t spine = 0; spine < t.pod_spines; ++spine) {
      const int at = static_cast<int>(t.leaves + pod * t.pod_spines + spine);
      for (std::int64_t leaf = pod * t.pod_leaves; leaf < std::min(t.leaves, (pod + 1) * t.pod_leaves);
           ++leaf)
        w.connect(static_cast<int>(leaf), at, t.pair_links, box.link);
      for (std::int64_t core = 0; core < t.group; ++core)
        w.connect(at, static_cast<int>(first_core + spine * t.group + core), t.core_links, box.link);
    }
  }
  return w;
}

/// Counts every switch's links on the wiring, apart from the formulas that sized it.
void check_wiring(NetworkPlan& p, const Tree& t, const Box& box) {
  const Wiring& w = p.wiring;
  std::vector<std::int64_t> up(w.tier.size(), 0), down(w.tier.size(), 0), neighbours(w.tier.size(), 0);
  for (const Wire& wire : w.wires) {
    up[wire.a] += wire.links, ++neighbours[wire.a];
    down[wire.b] += wire.links;
  }
  double worst_leaf = 0, worst_spine = 0;
  bool all_spines = true;
  std::int64_t ports[3] = {0, 0, 0};
  for (int i = 0; i < w.switches(); ++i) {
    const auto hosts = static_cast<double>(w.hosts[i]), rise = static_cast<double>(up[i]) * box.link;
    if (w.tier[i] == 0) {
      ports[0] =
          std::max(ports[0], ceil_div(w.hosts[i], box.nic_split()) + ceil_div(up[i], box.leaf_split()));
      if (t.tiers > 1) worst_leaf = std::max(worst_leaf, rise > 0 ? hosts * box.nic / rise : 1e9);
      all_spines = all_spines && neighbours[i] == t.pod_spines;
    } else {
      const std::int64_t lanes = box.lanes() / box.spine_ports;
      ports[w.tier[i]] = std::max(ports[w.tier[i]], ceil_div(up[i] + down[i], lanes));
      if (w.tier[i] == 1 && t.tiers == 3)
        worst_spine = std::max(worst_spine, static_cast<double>(down[i]) * box.link / rise);
    }
  }
  for (SwitchTier& tier : p.tiers) {
    const int index = tier.name == "leaf" ? 0 : tier.name == "spine" ? 1 : 2;
    tier.ports_used = ports[index];
    p.checks.push_back(
        {fmt::format("{}: {} of {} ports used by the fullest", tier.name, ports[index], tier.radix),
         ports[index] <= tier.radix});
  }
  if (t.tiers == 1) {
    p.non_blocking = t.rails == 1;
    p.checks.push_back({t.rails == 1 ? "one switch joins all endpoints"
                                     : "rails meet inside the nodes alone: other traffic changes rails there",
                        t.rails == 1});
    return;
  }
  p.checks.push_back({"every leaf reaches every spine above it, by as many links", all_spines});
  const bool leaves_ok = worst_leaf <= 1 + 1e-9, spines_ok = worst_spine <= 1 + 1e-9;
  p.checks.push_back({fmt::format("leaf: {:.3g} of bandwidth down for 1 up", worst_leaf), leaves_ok});
  if (t.tiers == 3)
    p.checks.push_back({fmt::format("spine: {:.3g} of bandwidth down for 1 up", worst_spine), spines_ok});
  p.non_blocking = leaves_ok && spines_ok && all_spines;
}

void count(NetworkPlan& p, const Tree& t, const Box& box) {
  const spec::NetworkSpec& s = p.spec;
  const int ends = s.endpoint_cable == "optical" ? 2 : 0;
  p.tiers.push_back({"leaf", t.leaves * s.planes, box.leaf_ports, box.leaf_rate, 0, t.leaf.down, t.leaf.up,
                     box.nic, box.link});
  p.cables.push_back({"endpoint to leaf", s.endpoints() * s.planes, box.nic, ends});
  if (t.tiers == 1) return;
  p.tiers.push_back({"spine", t.spines() * s.planes, box.spine_ports, box.spine_rate, 0,
                     t.pod_leaves * t.pair_links, t.tiers == 3 ? t.pod_leaves : 0, box.link, box.link});
  p.cables.push_back({"leaf to spine", t.leaves * t.leaf.up * s.planes, box.link, 2});
  if (t.tiers == 2) return;
  p.tiers.push_back({"core", t.cores() * s.planes, box.spine_ports, box.spine_rate, 0, t.pods * t.core_links,
                     0, box.link, 0});
  p.cables.push_back({"spine to core", t.spines() * t.pod_leaves * s.planes, box.link, 2});
}

NetworkPlan plan_of(const spec::NetworkSpec& s, const Tree& t, const Box& box) {
  NetworkPlan p;
  p.spec = s;
  p.spec.link_speed = {box.link, true};
  p.endpoints = s.endpoints();
  p.shape = fmt::format("{} of {} tier{}", s.topology == "rail" ? "rails" : "a fat tree", t.tiers,
                        t.tiers == 1 ? "" : "s");
  if (t.tiers == 2)
    p.shape += fmt::format(", {} link{} of {} from each leaf to each spine", t.pair_links,
                           t.pair_links == 1 ? "" : "s", line_rate_text(box.link));
  if (t.tiers == 3)
    p.shape += fmt::format(", {} pods of {} leaves and {} spines, links of {}", t.pods, t.pod_leaves,
                           t.pod_spines, line_rate_text(box.link));
  p.wiring = wire(s, t, box);
  count(p, t, box);
  check_wiring(p, t, box);
  // Half of the leaves send to the other half; what a leaf cannot send up stays out.
  for (int i = 0; i < p.wiring.switches() && p.wiring.tier[i] == 0; ++i) {
    const double in = static_cast<double>(p.wiring.hosts[i]) * box.nic;
    p.bisection += std::min(in, t.tiers == 1 ? in : static_cast<double>(t.leaf.up) * box.link) / 2 * s.planes;
  }
  p.hops = 2 * t.tiers;
  if (t.tiers > 1 && t.leaves == 1) p.hops = 2;
  return p;
}

std::vector<double> link_rates(const spec::NetworkSpec& s) {
  if (s.link_speed.given) return {s.link_speed.value};
  std::vector<double> rates;
  const double top = std::min(s.port_speed.value, s.spine_speed.value);
  for (double rate = top; rate >= std::min(top, s.nic.value) * (1 - 1e-9) &&
                          splits(s.port_speed.value, rate) && splits(s.spine_speed.value, rate);
       rate /= 2)
    rates.push_back(rate);
  return rates;
}

base::Status check_speeds(const spec::NetworkSpec& s, const std::vector<double>& links) {
  TW_RETURN_IF_ERROR(check_nic_speed(s));
  if (!links.empty() && splits(s.port_speed.value, links[0]) && splits(s.spine_speed.value, links[0]))
    return base::Ok{};
  const std::string ports =
      line_rate_text(s.port_speed.value) + " and " + line_rate_text(s.spine_speed.value);
  for (double rate = std::min(s.port_speed.value, s.spine_speed.value);
       s.link_speed.given && splits(s.port_speed.value, rate); rate /= 2) {
    if (splits(s.spine_speed.value, rate))
      return base::error(
          Code::kInvalidArgument,
          "ports of {} cannot be split into links of {}: they split in 2, 4 or 8, so link-speed {} would",
          ports, line_rate_text(s.link_speed.value), line_rate_text(rate));
  }
  return base::error(
      Code::kInvalidArgument,
      "ports of {} cannot be split into the same links, for they split in 2, 4 or 8: spine-speed {} "
      "would{}",
      ports, line_rate_text(s.port_speed.value), s.link_speed.given ? ", without link-speed" : "");
}

base::Result<NetworkPlan> size_tree(const spec::NetworkSpec& s, bool suggest);

std::string Builder::would(int spec::NetworkSpec::* field, const char* name, std::int64_t value) const {
  spec::NetworkSpec changed = s_;
  changed.*field = static_cast<int>(value);
  if (!suggest_ || value < 1 || !size_tree(changed, false).ok()) return {};
  return fmt::format(": {} {} would fit", name, value);
}

}  // namespace

base::Status check_nic_speed(const spec::NetworkSpec& s) {
  if (splits(s.port_speed.value, s.nic.value)) return base::Ok{};
  return base::error(
      Code::kInvalidArgument,
      "a port of {} cannot be split into NICs of {}: ports split in 2, 4 or 8, so port-speed {} would",
      line_rate_text(s.port_speed.value), line_rate_text(s.nic.value), line_rate_text(s.nic.value));
}

base::Result<double> fat_tree_reach(int tiers, int leaf_ports, int spine_ports) {
  if (tiers < 1 || tiers > 3 || leaf_ports < 2 || spine_ports < 2)
    return base::error(Code::kInvalidArgument,
                       "a fat tree has 1 to 3 tiers of switches with at least 2 ports");
  const Box box{leaf_ports, spine_ports, 1, 1, 1, 1, 1};
  if (tiers == 1) return leaf_ports;
  return static_cast<double>(most_leaves(box, tiers, 1) * fullest_leaf(box).down);
}

base::Result<NetworkPlan> size_fat_tree(const spec::NetworkSpec& s) {
  return size_tree(s, true);
}

namespace {

base::Result<NetworkPlan> size_tree(const spec::NetworkSpec& s, bool suggest) {
  const std::vector<double> links = link_rates(s);
  TW_RETURN_IF_ERROR(check_speeds(s, links));
  // Rails without spines are a choice and no accident.
  const int first = s.tiers > 0 ? s.tiers : s.topology == "rail" ? 2 : 1, last = s.tiers > 0 ? s.tiers : 3;
  std::int64_t reach = 0;
  for (int tiers = first; tiers <= last; ++tiers) {
    for (const double link : links) {
      Builder builder(s, tiers, link, suggest);
      const auto tree = builder.tree();
      if (tree.ok()) return plan_of(s, *tree, builder.box());
      if (tree.error().code != Code::kResourceExhausted) return tree.error();
      reach = std::max(reach, builder.reach_nodes());
    }
  }
  const std::string far = fmt::format("{} tier{} of these switches reach {} nodes of {} NICs, not {}", last,
                                      last == 1 ? "" : "s", reach, s.nics, s.nodes);
  if (!suggest) return base::error(Code::kInvalidArgument, "{}", far);
  for (int tiers = last + 1; tiers <= 3; ++tiers) {
    spec::NetworkSpec more = s;
    more.tiers = tiers;
    if (const auto found = size_tree(more, false); found.ok())
      return base::error(Code::kInvalidArgument, "{}: --tiers {} would, with {} switches", far, tiers,
                         found->switches());
  }
  spec::NetworkSpec fewer = s;
  fewer.nodes = reach;
  if (reach > 0 && size_tree(fewer, false).ok())
    return base::error(Code::kInvalidArgument, "{}: --nodes {} would do, or a larger --spine-radix", far,
                       reach);
  return base::error(Code::kInvalidArgument, "{}: a larger --radix is needed", far);
}

}  // namespace
}  // namespace tw::plan
