#include "plan/collective.h"

#include <gtest/gtest.h>

#include <map>

#include "plan/estimate.h"

namespace tw::plan {
namespace {

using ops::Collective;

double on_torus(const char* sizes, Collective kind, double bytes, double rate) {
  const Torus torus = *parse_torus(sizes);
  return torus_seconds(torus_part(torus, 1, torus.places()), kind, torus.places(), bytes, rate);
}

TEST(Collective, PodsReduceAsFastAsTheyArePublished) {
  // All bytes that all chips send in a second of all-reduce. docs.cloud.google.com/tpu/docs: v4 1.1 PB/s (of
  // 2^50), v5e 51.2 TB/s, v6e 102.4 TB/s.
  const auto sent = [](const char* sizes, double link) {
    const auto n = static_cast<double>(parse_torus(sizes)->places());
    return n * 2 * (n - 1) / n * 1e9 / on_torus(sizes, Collective::kAllReduce, 1e9, link);
  };
  EXPECT_NEAR(sent("16x16x16", 50e9) / (1.1 * 0x1p50), 1, 0.01);
  EXPECT_NEAR(sent("16x16", 50e9) / 51.2e12, 1, 1e-9);
  EXPECT_NEAR(sent("16x16", 100e9) / 102.4e12, 1, 1e-9);
}

TEST(Collective, AxesOfATorusAreRingsOrLines) {
  const Torus torus = *parse_torus("8x8x16");
  EXPECT_EQ(torus_part(torus, 1, 8).links, 2);    // the first dimension
  EXPECT_EQ(torus_part(torus, 1, 4).links, 1);    // half of it
  EXPECT_EQ(torus_part(torus, 8, 128).links, 4);  // the other two
  EXPECT_EQ(torus_part(torus, 1, 1024).links, 6);
  EXPECT_EQ(torus_part(torus, 4, 2).links, 0.5);  // takes turns with three others
  EXPECT_EQ(torus_part(torus, 4, 256).links, 4.5);
  EXPECT_EQ(torus_part(torus, 3, 2).links, 1);   // fits nowhere
  EXPECT_EQ(torus_part(torus, 1, 24).links, 3);  // a ring of 8, and a line of 3
  EXPECT_EQ(torus_part(torus, 1, 1024).hops, 16);
  // jax-ml.github.io/scaling-book: all-gather V / (bidirectional bandwidth), all-to-all a quarter of it.
  const double v = 1e9, link = 45e9;
  EXPECT_NEAR(on_torus("16", Collective::kAllGather, v, link) / (v * 15 / 16 / (2 * link)), 1, 1e-12);
  EXPECT_NEAR(on_torus("16", Collective::kAllToAll, v / 16, link) / (v / (4 * 2 * link)), 1, 1e-12);
  EXPECT_EQ(on_torus("16", Collective::kReduceScatter, v, link) * 2,
            on_torus("16", Collective::kAllReduce, v, link));
}

/// Bytes over the fullest link when each place of a torus (or of a line: no wrap) sends one byte to each,
/// itself too, along one dimension after the other, both ways round where they are as short.
double routed(const std::vector<int>& sizes, bool wraps) {
  std::map<std::tuple<int, int, int>, double> load;  // place, dimension, direction
  int n = 1;
  for (const int size : sizes) n *= size;
  for (int from = 0; from < n; ++from) {
    for (int to = 0; to < n; ++to) {
      int at = from, stride = 1;
      for (std::size_t d = 0; d < sizes.size(); ++d) {
        const int size = sizes[d], a = at / stride % size, b = to / stride % size;
        const int forward = (b - a + size) % size;
        for (const int direction : {1, -1}) {
          const int steps = !wraps ? (b - a) * direction : direction > 0 ? forward : (size - forward) % size;
          if (steps <= 0 || (wraps && 2 * steps > size)) continue;
          for (int i = 0, place = a; i < steps; ++i, place = (place + direction + size) % size)
            load[{at + (place - a) * stride, static_cast<int>(d), direction}] +=
                wraps && 2 * steps == size ? 0.5 : 1;
        }
        at += (b - a) * stride;
        stride *= size;
      }
    }
  }
  double most = 0;
  for (const auto& [link, bytes] : load) most = std::max(most, bytes);
  return most;
}

TEST(Collective, AllToAllIsTheFullestLinkOfARoutedOne) {
  for (const char* text : {"4", "5", "8", "4x4", "4x6", "3x5", "4x4x4", "2x4x3"}) {
    const Torus torus = *parse_torus(text);
    const auto n = static_cast<double>(torus.places());
    EXPECT_NEAR(on_torus(text, Collective::kAllToAll, n, 1), routed(torus.sizes, true), 1e-9) << text;
  }
  for (const int size : {2, 3, 4, 7}) {  // half of a larger ring
    const Torus torus{{2 * size}};
    EXPECT_NEAR(torus_seconds(torus_part(torus, 1, size), Collective::kAllToAll, size, size, 1),
                routed({size}, false), 1e-9)
        << size;
  }
}

TEST(Collective, NetworksNarrowWhatLeavesAGroup) {
  Fabric even;
  const double b = 1e9, nic = 50e9;
  // 64 ranks, 8 in each node: the ring's bytes through eight NICs.
  const double plain = network_seconds(even, Collective::kAllReduce, 64, 1, 8, b, nic);
  EXPECT_NEAR(plain, 2 * 63.0 / 64 * b / (8 * nic), 1e-12);
  Fabric sums = even;
  sums.reduces = true;
  EXPECT_NEAR(network_seconds(sums, Collective::kAllReduce, 64, 1, 8, b, nic), b / (8 * nic), 1e-12);
  EXPECT_EQ(network_seconds(sums, Collective::kAllGather, 64, 1, 8, b, nic),
            network_seconds(even, Collective::kAllGather, 64, 1, 8, b, nic));
  Fabric narrow = even;
  narrow.group = 32, narrow.oversubscription = 4;
  // A ring leaves a group of four nodes from one of them: four to one is enough.
  EXPECT_EQ(network_seconds(narrow, Collective::kAllReduce, 64, 1, 8, b, nic), plain);
  narrow.oversubscription = 6;
  EXPECT_NEAR(network_seconds(narrow, Collective::kAllReduce, 64, 1, 8, b, nic), 1.5 * plain, 1e-12);
  // Rings of one rank in each group all leave it.
  EXPECT_NEAR(network_seconds(narrow, Collective::kAllReduce, 8, 32, 1, b, nic) /
                  network_seconds(even, Collective::kAllReduce, 8, 32, 1, b, nic),
              6, 1e-12);
  // Uniform traffic: half of it leaves.
  EXPECT_NEAR(network_seconds(narrow, Collective::kAllToAll, 64, 1, 8, b, nic), b / 2 * 6 / nic, 1e-12);
  EXPECT_NEAR(network_seconds(even, Collective::kAllToAll, 64, 1, 8, b, nic), b * 56 / 64 / nic, 1e-12);
  Fabric dragonfly = narrow;
  dragonfly.dragonfly = true;
  EXPECT_NEAR(network_seconds(dragonfly, Collective::kAllReduce, 64, 1, 8, b, nic), 3 * plain, 1e-12);
  EXPECT_EQ(network_seconds(dragonfly, Collective::kAllToAll, 64, 1, 8, b, nic),
            network_seconds(narrow, Collective::kAllToAll, 64, 1, 8, b, nic));
}

TEST(Collective, SlicesMeetOverTheDataCentre) {
  Fabric f;
  f.torus = *parse_torus("8x8x16"), f.torus_link = 50e9;
  const double b = 8e9, nic = 6.25e9;
  const SliceSeconds s = slices_seconds(f, Collective::kAllReduce, 8192, 1, b, nic);
  EXPECT_NEAR(s.inside, 2 * 1023.0 / 1024 * b / (6 * 50e9), 1e-12);
  EXPECT_NEAR(s.network, 2 * 7.0 / 8 * (b / 1024) / nic, 1e-12);
  EXPECT_EQ(slices_seconds(f, Collective::kAllReduce, 1024, 1, b, nic).network, 0);
  // A stride of a whole slice: one rank in each.
  EXPECT_NEAR(slices_seconds(f, Collective::kAllReduce, 8, 1024, b, nic).network, 2 * 7.0 / 8 * b / nic,
              1e-12);
  const SliceSeconds all = slices_seconds(f, Collective::kAllToAll, 2048, 1, b, nic);
  EXPECT_NEAR(all.network, b / 2 / nic, 1e-12);
  EXPECT_NEAR(all.inside, 16.0 / 8 * b / 2 / 50e9, 1e-12);
}

base::Result<double> step_on(const std::string& network, const std::string& torus, double oversubscription) {
  spec::TrainJob job;
  job.batch = 2048, job.sequence = 4096, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = torus.empty() ? "H100" : "TPUv5p", cluster.accelerators = 1024;
  cluster.network = network, cluster.torus = torus, cluster.oversubscription = oversubscription;
  cluster.group = 32, cluster.nic = {torus.empty() ? 6.25e9 : 1e7, true}, cluster.torus_link = {50e9, true};
  TW_ASSIGN_OR_RETURN(const Setting s, make_setting(*find_model("llama-3-70b"), job, cluster));
  spec::ParallelPlan plan;
  plan.data = 128, plan.tensor = 8, plan.zero = 3, plan.sequence = true;
  TW_ASSIGN_OR_RETURN(const Estimate e, estimate(s, plan));
  return e.step_seconds;
}

/// The layers of llama-3-70b on H100, with so many context ranks beside tp.
LayersBasis layers_of(int context, int tensor, std::int64_t sequence) {
  const PlannedModel model = *find_model("llama-3-70b");
  spec::ParallelPlan plan;
  plan.context = context, plan.tensor = tensor, plan.sequence = tensor > 1, plan.data = 8;
  Tracer tracer(model.config);
  const auto trace = tracer.get(plan_sharding(plan), {1, sequence, 0});
  EXPECT_TRUE(trace.ok());
  Stack stack;
  stack.fused_attention = true;
  const Accelerator& h100 = **Catalogue::shipped().find("H100 SXM");
  const auto basis = layers_basis(model.config, **trace, {sequence, 64, Precision::kBf16}, plan, h100, stack);
  EXPECT_TRUE(basis.ok());
  return *basis;
}

TEST(Collective, ContextsRingGoesRoundBehindAttention) {
  // 8 key and value heads of 128 in 16 bits: 2 x 2 x 1,024 bytes a token, of which a rank sends all but its
  // own.
  const double token = 4096, sequence = 131072;
  const Pass near = layers_of(8, 1, 131072).dense.forward, far = layers_of(8, 8, 131072).dense.forward;
  EXPECT_NEAR(near.ring_inside, 7 * (10e-6 + sequence / 8 * token / (0.8 * 450e9)), 1e-9);
  EXPECT_EQ(near.ring_network, 0);
  // One node of eight tensor ranks: each ring has one of the NICs, and an eighth of the heads.
  EXPECT_NEAR(far.ring_network, 7 / 8.0 * sequence * token / 8 / 50e9, 1e-9);
  EXPECT_NEAR(far.ring_inside, 7 * 20e-6, 1e-12);
  const Pass back = layers_of(8, 8, 131072).dense.backward;
  EXPECT_NEAR(back.ring_network, 2 * far.ring_network, 1e-12);
  EXPECT_NEAR(back.ring_hidden, 2.5 * far.ring_hidden, 1e-12);
  // Long blocks hide their sends (2310.01889: from c = FLOPs over bandwidth tokens on); short ones do not,
  // and more ranks take longer over the same tokens.
  const Constants constants = {1, 1, 1, 0, 0, 0};
  const auto exposed = [&](int context, int tensor, std::int64_t tokens) {
    Pass pass = layers_of(context, tensor, tokens).dense.forward;
    const double with = pass_seconds(pass, constants);
    pass.ring_inside = pass.ring_network = 0;
    return with - pass_seconds(pass, constants);
  };
  EXPECT_EQ(exposed(8, 1, 131072), 0);
  EXPECT_GT(exposed(8, 1, 4096), 0);
  EXPECT_GT(exposed(256, 8, 32768), exposed(64, 8, 32768));
  EXPECT_GT(exposed(64, 8, 32768), 0);
}

TEST(Collective, ThePlanFeelsItsNetwork) {
  const double even = *step_on("fat-tree", "", 1), narrow = *step_on("fat-tree", "", 16);
  EXPECT_GT(narrow, 1.05 * even);
  EXPECT_GT(*step_on("dragonfly", "", 16), narrow);
  const double one = *step_on("torus", "8x8x16", 1);
  const double line = *step_on("torus", "1024", 1);  // tensor parallelism has one link and not two
  const double two = *step_on("torus", "8x8x8", 1);  // two slices
  EXPECT_GT(line, one);
  EXPECT_GT(two, one);
  for (const auto& [network, torus, part] :
       {std::tuple("torus", "8x8x10", "1024 accelerators are no whole number of slices of 8x8x10"),
        std::tuple("torus", "", "needs the sizes"),
        std::tuple("ring", "", "must be fat-tree, torus or dragonfly")}) {
    const auto e = step_on(network, torus, 1);
    ASSERT_FALSE(e.ok());
    EXPECT_NE(e.error().text().find(part), std::string::npos) << e.error().text();
  }
}

}  // namespace
}  // namespace tw::plan
