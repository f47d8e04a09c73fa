#include "plan/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "plan/torus.h"

namespace tw::plan {
namespace {

constexpr double kGb = 1.25e8;

spec::NetworkSpec fabric(std::int64_t nodes, int nics, int radix, double gbps = 400) {
  spec::NetworkSpec s;
  s.nodes = nodes, s.nics = nics, s.radix = radix, s.nic = {gbps * kGb, true};
  return s;
}

NetworkPlan sized(const spec::NetworkSpec& s) {
  auto p = size_network(s);
  EXPECT_TRUE(p.ok()) << p.error().text();
  return p.ok() ? *p : NetworkPlan{};
}

std::int64_t of_tier(const NetworkPlan& p, std::string_view name) {
  for (const SwitchTier& t : p.tiers) {
    if (t.name == name) return t.switches;
  }
  return 0;
}

TEST(Network, AreThoseOfTheDgxB200ReferenceArchitecture) {
  // docs.nvidia.com/dgx-superpod/reference-architecture-scalable-infrastructure-b200: table of larger pods,
  // 64 ports of 400 Gb/s. Nodes, leaves, spines, cores, cables between leaves and spines, spines and cores.
  const std::int64_t table[][6] = {{64, 16, 8, 0, 512, 0},
                                   {128, 32, 16, 0, 1024, 0},
                                   {256, 64, 32, 0, 2048, 0},
                                   {512, 128, 128, 64, 4096, 4096},
                                   {1024, 256, 256, 128, 8192, 8192},
                                   {2048, 512, 512, 256, 16384, 16384}};
  for (const auto& [nodes, leaves, spines, cores, up, top] : table) {
    spec::NetworkSpec s = fabric(nodes, 8, 64);
    s.topology = "rail";
    const NetworkPlan p = sized(s);
    EXPECT_EQ(of_tier(p, "leaf"), leaves) << nodes;
    EXPECT_EQ(of_tier(p, "spine"), spines) << nodes;
    EXPECT_EQ(of_tier(p, "core"), cores) << nodes;
    EXPECT_EQ(p.cables[0].count, nodes * 8);
    EXPECT_EQ(p.cables[1].count, up) << nodes;
    EXPECT_EQ(p.cables.size() > 2 ? p.cables[2].count : 0, top) << nodes;
    EXPECT_TRUE(p.non_blocking) << nodes;
  }
}

TEST(Network, AreThoseOfTheDgxB300ReferenceArchitectures) {
  // The same for B300 with 144 ports of 800 Gb/s; and with 64 ports of 800 Gb/s, whose larger pods split
  // links.
  const std::int64_t xdr[][3] = {{72, 8, 4}, {144, 16, 8}, {288, 32, 18}, {576, 64, 36}};
  for (const auto& [nodes, leaves, spines] : xdr) {
    spec::NetworkSpec s = fabric(nodes, 8, 144, 800);
    s.topology = "rail";
    const NetworkPlan p = sized(s);
    EXPECT_EQ(of_tier(p, "leaf"), leaves) << nodes;
    EXPECT_EQ(of_tier(p, "spine"), spines) << nodes;
    EXPECT_EQ(p.cables[1].count, nodes * 8) << nodes;
  }
  const std::int64_t ethernet[][4] = {
      {64, 16, 8, 800}, {128, 32, 16, 800}, {256, 64, 32, 800}, {512, 128, 64, 400}, {1024, 256, 128, 200}};
  for (const auto& [nodes, leaves, spines, link] : ethernet) {
    spec::NetworkSpec s = fabric(nodes, 8, 64, 800);
    s.topology = "rail", s.tiers = 2, s.link_speed = {static_cast<double>(link) * kGb, true};
    const NetworkPlan p = sized(s);
    EXPECT_EQ(of_tier(p, "leaf"), leaves) << nodes;
    EXPECT_EQ(of_tier(p, "spine"), spines) << nodes;
    EXPECT_TRUE(p.non_blocking) << nodes;
  }
}

TEST(Network, AnAtlasOf18000CardsNeedsChassisSpines) {
  // 2,250 nodes of 8, 64-port leaves, spines of 288 x 800GE: 576 x 32 = 18,432 ports in two tiers.
  spec::NetworkSpec s = fabric(2250, 8, 64);
  s.tiers = 2, s.spine_radix = 288, s.spine_speed = {800 * kGb, true};
  const NetworkPlan p = sized(s);
  EXPECT_EQ(of_tier(p, "leaf"), 563);
  EXPECT_EQ(of_tier(p, "spine"), 32);
  EXPECT_TRUE(p.non_blocking);
  EXPECT_NEAR(p.bisection, 9000 * 400 * kGb, 1);
  s.spine_radix = 0, s.spine_speed = {};
  const auto fixed = size_network(s);
  ASSERT_FALSE(fixed.ok());
  EXPECT_NE(fixed.error().text().find("reach 256 nodes of 8 NICs, not 2250: --tiers 3 would"),
            std::string::npos)
      << fixed.error().text();
  s.tiers = 3;
  EXPECT_TRUE(size_network(s).ok());
}

TEST(Network, KAryTreesReachWhatTheFormulaSays) {
  for (const int k : {4, 6, 8}) {
    const std::int64_t two = std::int64_t{k} * k / 2, three = std::int64_t{k} * k * k / 4;
    EXPECT_EQ(*fat_tree_reach(2, k, k), two);
    EXPECT_EQ(*fat_tree_reach(3, k, k), three);
    const NetworkPlan p = sized(fabric(three, 1, k));
    EXPECT_EQ(of_tier(p, "leaf"), k * k / 2);
    EXPECT_EQ(of_tier(p, "spine"), k * k / 2);
    EXPECT_EQ(of_tier(p, "core"), k * k / 4);
    EXPECT_EQ(sized(fabric(two, 1, k)).tiers.size(), 2U);
    const auto more = size_network(fabric(three + 1, 1, k));
    ASSERT_FALSE(more.ok());
    EXPECT_NE(more.error().text().find(fmt::format("--nodes {} would do", three)), std::string::npos)
        << more.error().text();
  }
}

/// A tree's permutation, every flow spread evenly over its shortest ways: the load of the fullest link.
double worst_load(const NetworkPlan& p, const std::vector<int>& leaf_of, const std::vector<int>& to) {
  const Wiring& w = p.wiring;
  std::vector<double> up(w.wires.size(), 0), down(w.wires.size(), 0);
  std::vector<std::vector<std::size_t>> above(w.tier.size());
  for (std::size_t i = 0; i < w.wires.size(); ++i) above[w.wires[i].a].push_back(i);
  const auto below = [&](int top, int leaf) {  // wires by which a switch reaches a leaf, down
    std::vector<std::vector<std::size_t>> ways;
    for (const std::size_t i : above[leaf]) {
      if (w.wires[i].b == top) ways.push_back({i});
      for (const std::size_t j : above[w.wires[i].b]) {
        if (w.wires[j].b == top) ways.push_back({i, j});
      }
    }
    return ways;
  };
  for (std::size_t from = 0; from < to.size(); ++from) {
    const int a = leaf_of[from], b = leaf_of[to[from]];
    if (a == b) continue;
    std::vector<std::pair<std::vector<std::size_t>, std::vector<std::size_t>>> ways;
    for (int tier = 1; tier <= 2 && ways.empty(); ++tier) {
      for (int top = 0; top < w.switches(); ++top) {
        if (w.tier[top] != tier) continue;
        for (const auto& rise : below(top, a)) {
          for (const auto& fall : below(top, b)) ways.emplace_back(rise, fall);
        }
      }
    }
    EXPECT_FALSE(ways.empty());
    for (const auto& [rise, fall] : ways) {
      const double part = p.spec.nic.value / static_cast<double>(ways.size());
      for (const std::size_t i : rise) up[i] += part;
      for (const std::size_t i : fall) down[i] += part;
    }
  }
  double worst = 0;
  for (std::size_t i = 0; i < w.wires.size(); ++i)
    worst =
        std::max(worst, std::max(up[i], down[i]) / (static_cast<double>(w.wires[i].links) * w.wires[i].rate));
  return worst;
}

std::vector<int> leaves_of_endpoints(const NetworkPlan& p) {
  std::vector<int> leaf_of;
  for (int i = 0; i < p.wiring.switches(); ++i)
    leaf_of.insert(leaf_of.end(), static_cast<std::size_t>(p.wiring.hosts[i]), i);
  return leaf_of;
}

TEST(Network, NonBlockingMeansThatEveryPermutationFits) {
  std::mt19937 random(7);
  int seen[2] = {0, 0};
  for (const bool rail : {false, true}) {
    for (const std::int64_t nodes : {3, 7, 8, 15, 16}) {
      for (const double ratio : {1.0, 3.0}) {
        spec::NetworkSpec s = fabric(nodes, 2, 4);
        s.topology = rail ? "rail" : "fat-tree", s.oversubscription = ratio;
        if (!rail && nodes > 8) continue;
        const auto p = size_network(s);
        if (!p.ok()) continue;
        const std::vector<int> leaf_of = leaves_of_endpoints(*p);
        ASSERT_EQ(static_cast<std::int64_t>(leaf_of.size()), p->endpoints);
        std::vector<int> to(leaf_of.size());
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int>(i);
        double worst = 0;
        for (int round = 0; round < 50; ++round) {
          std::shuffle(to.begin(), to.end(), random);
          worst = std::max(worst, worst_load(*p, leaf_of, to));
        }
        ++seen[p->non_blocking ? 1 : 0];
        EXPECT_EQ(worst <= 1 + 1e-9, p->non_blocking) << nodes << (rail ? " rail " : " ") << worst;
      }
    }
  }
  EXPECT_GE(seen[0], 5);
  EXPECT_GE(seen[1], 5);
}

TEST(Network, BisectionIsTheMaximalFlowBetweenHalves) {
  for (const auto& [nodes, radix, ratio] :
       {std::tuple(8, 4, 1.0), std::tuple(16, 4, 1.0), std::tuple(32, 8, 1.0), std::tuple(36, 8, 3.0),
        std::tuple(128, 8, 1.0)}) {
    spec::NetworkSpec s = fabric(nodes, 1, radix);
    s.oversubscription = ratio;
    const NetworkPlan p = sized(s);
    const std::int64_t leaves = of_tier(p, "leaf");
    ASSERT_EQ(leaves % 2, 0);
    std::mt19937 random(3);
    std::vector<bool> left(p.wiring.switches(), false);
    std::fill(left.begin(), left.begin() + leaves / 2, true);
    double least = 1e30;
    for (int round = 0; round < 20; ++round) {
      least = std::min(least, flow_between(p.wiring, left, s.nic.value));
      std::shuffle(left.begin(), left.begin() + leaves, random);
    }
    EXPECT_NEAR(least / p.bisection, 1, 1e-6) << nodes << " " << radix;
    EXPECT_EQ(p.hops, longest_way(p.wiring) + 2) << nodes;
  }
}

TEST(Network, PortsAreCountedWithTheirSplits) {
  // 64 ports of 800 split in two for NICs of 400: 64 down, 32 ports up: half of 128 lanes.
  spec::NetworkSpec s = fabric(256, 8, 64);
  s.port_speed = {800 * kGb, true};
  const NetworkPlan p = sized(s);
  EXPECT_EQ(p.tiers[0].down, 64);
  EXPECT_EQ(p.tiers[0].up, 32);
  EXPECT_EQ(p.tiers[0].ports_used, 64);
  EXPECT_EQ(of_tier(p, "leaf"), 32);
  EXPECT_EQ(of_tier(p, "spine"), 16);
  s.leaf_down = 65;
  const auto full = size_network(s);
  ASSERT_FALSE(full.ok());
  EXPECT_NE(full.error().text().find("a leaf needs 66 ports"), std::string::npos) << full.error().text();
  EXPECT_NE(full.error().text().find("leaf-down 64 would fit"), std::string::npos) << full.error().text();
  // Alibaba's HPN (SIGCOMM 2024): 15,360 GPUs a pod, two planes of 200 Gb/s, 120 leaves a plane with 128 down
  // and 60 x 400 up, 60 spines: a little over one to one.
  spec::NetworkSpec hpn = fabric(1920, 8, 128, 200);
  hpn.topology = "rail", hpn.planes = 2, hpn.port_speed = {400 * kGb, true};
  hpn.leaf_down = 128, hpn.leaf_up = 60, hpn.tiers = 2;
  const NetworkPlan pod = sized(hpn);
  EXPECT_EQ(of_tier(pod, "leaf"), 240);
  EXPECT_EQ(of_tier(pod, "spine"), 120);
  EXPECT_FALSE(pod.non_blocking);
  EXPECT_NEAR(pod.bisection / (15360 * 200 * kGb), 60.0 / 64, 1e-9);
}

TEST(Network, ToriAreThoseOfTpuPods) {
  // arXiv 2304.01433: 4,096 chips, 64 blocks of 4x4x4, 48 optical switches of 128 ports in use.
  spec::NetworkSpec s = fabric(4096, 1, 0);
  s.topology = "torus", s.cube = 4;
  const NetworkPlan v4 = sized(s);
  EXPECT_EQ(v4.spec.torus, "16x16x16");
  EXPECT_EQ(of_tier(v4, "optical switch"), 48);
  EXPECT_EQ(v4.tiers[0].ports_used, 128);
  EXPECT_EQ(v4.cables[1].count, 6144);
  EXPECT_EQ(v4.cables[0].count + v4.cables[1].count / 2, 3 * 4096);
  EXPECT_NEAR(v4.bisection / 24e12, 1, 0.07);  // docs.cloud.google.com/tpu/docs/v4: 24 TB/s
  EXPECT_EQ(v4.hops, 24);
  // docs.cloud.google.com/tpu/docs/v5e and v6e: 256 chips in 2D, links of 50 and 100 GB/s: 1.6 and 3.2 TB/s.
  s = fabric(256, 1, 0);
  s.topology = "torus", s.torus = "2d";
  EXPECT_NEAR(sized(s).bisection, 1.6e12, 1);
  s.nic = {100e9, true};
  EXPECT_NEAR(sized(s).bisection, 3.2e12, 1);
  s.torus = "16x8";
  EXPECT_NE(size_network(s).error().text().find("16x8 has 128 places, not 256: 16x16 would"),
            std::string::npos);
  s = fabric(4096 + 64, 1, 0);
  s.topology = "torus", s.cube = 4;
  EXPECT_NE(size_network(s).error().text().find("up to 4096 accelerators would do"), std::string::npos);
  s.nodes = 100;
  EXPECT_NE(size_network(s).error().text().find("128 would, as 4x4x8"), std::string::npos);
}

TEST(Network, ToriByCountingAllHalves) {
  for (const char* text : {"4x4", "4x2x2", "2x2x2", "6x2", "8"}) {
    const Torus torus = *parse_torus(text);
    const Wiring w = torus_wiring(torus, 1);
    const int n = w.switches();
    EXPECT_EQ(longest_way(w), torus.diameter()) << text;
    std::int64_t fewest = 1 << 20;
    for (int half = 0; half < 1 << n; ++half) {
      if (__builtin_popcount(half) != n / 2) continue;
      std::int64_t crossing = 0;
      for (const Wire& wire : w.wires) crossing += ((half >> wire.a ^ half >> wire.b) & 1) * wire.links;
      fewest = std::min(fewest, crossing);
    }
    EXPECT_EQ(static_cast<double>(fewest), torus.bisection_links()) << text;
  }
  for (const char* bad : {"", "x", "4x", "4xx4", "0x4", "4x-2", "99999x99999", "2x2x2x2x2x2x2", "16 x 16"})
    EXPECT_FALSE(parse_torus(bad).ok()) << bad;
}

TEST(Network, DragonfliesAreBalanced) {
  // Kim et al., ISCA 2008: p = h = 2, a = 4 makes 72 endpoints in 9 groups of 7-port switches.
  spec::NetworkSpec s = fabric(72, 1, 7);
  s.topology = "dragonfly";
  const NetworkPlan p = sized(s);
  EXPECT_EQ(p.switches(), 36);
  EXPECT_EQ(p.hops, longest_way(p.wiring) + 2);
  EXPECT_EQ(p.cables[2].count, 36);
  EXPECT_EQ(p.tiers[0].ports_used, 7);
  s.nodes = 73;
  EXPECT_NE(size_network(s).error().text().find("reaches 72 nodes of 1 NICs, not 73: --radix 11 would"),
            std::string::npos)
      << size_network(s).error().text();
  s.radix = 11;
  EXPECT_TRUE(size_network(s).ok());
  s = fabric(64, 1, 7);  // 8 groups: the cut is even
  s.topology = "dragonfly";
  const NetworkPlan even = sized(s);
  std::vector<bool> left(even.wiring.switches(), false);
  std::fill(left.begin(), left.begin() + even.wiring.switches() / 2, true);
  EXPECT_NEAR(flow_between(even.wiring, left, s.nic.value) / even.bisection, 1, 1e-6);
}

TEST(Network, PowerAndMoneyNeedTheirNumbers) {
  spec::NetworkSpec s = fabric(128, 8, 64);
  const auto figure = [](const NetworkPlan& p, const std::string& key) -> const Figure& {
    static const Figure none;
    for (const Figure& f : p.figures) {
      if (f.key == key) return f;
    }
    ADD_FAILURE() << key;
    return none;
  };
  const NetworkPlan bare = sized(s);
  EXPECT_NE(figure(bare, "watts").missing.find("--switch-power"), std::string::npos);
  EXPECT_NE(figure(bare, "usd").missing.find("--switch-price"), std::string::npos);
  EXPECT_EQ(figure(bare, "transceivers").value->value, 4 * 1024);
  EXPECT_EQ(figure(bare, "optic_watts").value->value, 4 * 1024 * 9);
  s.switch_power = {1000, true}, s.switch_price = {20000, true}, s.optic_price = {500, true};
  s.cable_price = {100, true}, s.endpoint_cable = "copper";
  const NetworkPlan p = sized(s);
  EXPECT_EQ(figure(p, "watts").value->value, 48 * 1000 + 2 * 1024 * 9);
  EXPECT_EQ(figure(p, "usd").value->value, 48 * 20000 + 2 * 1024 * 500 + 2048 * 100);
  s.switch_name = "Nobody";
  EXPECT_NE(size_network(s).error().text().find("SN5600"), std::string::npos);
}

TEST(Network, WhatIsAdvisedWorks) {
  // Links faster than the ports that both ends have.
  spec::NetworkSpec s = fabric(1000, 8, 64);
  s.link_speed = {800 * kGb, true};
  EXPECT_NE(size_network(s).error().text().find("link-speed 400 Gb/s would"), std::string::npos)
      << size_network(s).error().text();
  s.link_speed = {400 * kGb, true};
  EXPECT_TRUE(size_network(s).ok());
  // 63 links up leave one endpoint a leaf, and 32 would reach 2,048 endpoints and no further in two tiers.
  s = fabric(1000, 8, 64), s.tiers = 2, s.leaf_up = 64;
  EXPECT_EQ(size_network(s).error().text().find("would"), std::string::npos)
      << size_network(s).error().text();
  s.nodes = 128;
  EXPECT_NE(size_network(s).error().text().find("leaf-up 32 would"), std::string::npos);
  s = fabric(257, 1, 0), s.topology = "torus", s.torus = "16x16", s.cube = 1;
  EXPECT_EQ(size_network(s).error().text().find("would"), std::string::npos)
      << size_network(s).error().text();
}

TEST(Network, FlatToriHaveNoFibresToNowhere) {
  spec::NetworkSpec s = fabric(0, 1, 0);
  s.topology = "torus", s.torus = "4x4x1", s.cube = 1;
  const NetworkPlan p = sized(s);
  for (const CableRun& c : p.cables) EXPECT_GE(c.count, 0) << c.name;
  EXPECT_EQ(p.cables[1].count, 2 * 2 * 16);  // both ends of 32 links
  EXPECT_EQ(p.cables[0].count, 0);
}

TEST(Network, WhatATopologyDoesNotHaveIsRefused) {
  spec::NetworkSpec s = fabric(64, 1, 0);
  s.topology = "torus", s.oversubscription = 2;
  EXPECT_NE(size_network(s).error().text().find("has no oversubscription"), std::string::npos);
  s.oversubscription = 1, s.tiers = 2;
  EXPECT_FALSE(size_network(s).ok());
  s.tiers = 0;
  EXPECT_TRUE(size_network(s).ok());
  s = fabric(64, 1, 64), s.cube = 4;
  EXPECT_FALSE(size_network(s).ok());
  // A NIC is no faster than its port.
  s = fabric(72, 1, 7), s.topology = "dragonfly", s.port_speed = {100 * kGb, true};
  EXPECT_NE(size_network(s).error().text().find("cannot be split into NICs"), std::string::npos);
}

TEST(Network, TooManyWiresAreRefusedBeforeTheyAreLaid) {
  spec::NetworkSpec s = fabric(16384, 1, 16384);
  s.leaf_down = 1, s.leaf_up = 16383, s.tiers = 2;
  EXPECT_NE(size_network(s).error().text().find("at most"), std::string::npos);
  s = fabric(1, 8, 16384), s.topology = "dragonfly";
  EXPECT_NE(size_network(s).error().text().find("--radix 7 reaches as far"), std::string::npos)
      << size_network(s).error().text();
  s.radix = 7;
  EXPECT_TRUE(size_network(s).ok());
  s = fabric(1, 1, 64), s.switch_power = {1e20, true};
  EXPECT_FALSE(size_network(s).ok());
}

TEST(Network, SpeedsComeFromTheSheetUnlessTheyWereGiven) {
  spec::NetworkSpec wanted = fabric(64, 8, 0);
  wanted.switch_name = "QM9700";
  const auto provenances = [](const spec::NetworkSpec& spec) {
    const NetworkPlan p = size_network(spec).value();
    return std::tuple(p.leaf_speed, p.spine_speed, p.between_speed);
  };
  constexpr auto kSheet = Provenance::kDatasheet, kAssumed = Provenance::kAssumed;
  EXPECT_EQ(provenances(wanted), std::tuple(kSheet, kSheet, kSheet));
  spec::NetworkSpec leaf = wanted, link = wanted, none = wanted;
  leaf.port_speed = {50e9, true};
  EXPECT_EQ(provenances(leaf), std::tuple(kAssumed, kAssumed, kAssumed));
  link.link_speed = {50e9, true};
  EXPECT_EQ(provenances(link), std::tuple(kSheet, kSheet, kAssumed));
  none.switch_name.clear(), none.radix = 64;
  EXPECT_EQ(provenances(none), std::tuple(kAssumed, kAssumed, kAssumed));
}

}  // namespace
}  // namespace tw::plan
