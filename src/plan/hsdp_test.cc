// Groups of replicas that share their state and hold copies of each other's: torch.distributed.fsdp's
// HYBRID_SHARD. Within a group FULL_SHARD: all-gather of parameters before forward and backward,
// reduce-scatter of gradients; between groups an all-reduce of the shards of gradients
// (pytorch/pytorch, torch/distributed/fsdp/api.py; arXiv 2304.11277, 3.2.2).
#include <gtest/gtest.h>

#include "plan/memory.h"
#include "plan/test_setting.h"

namespace tw::plan {
namespace {

// Of llama-2-7b: a layer, 4 x 4096^2 + 3 x 4096 x 11008 + 2 x 4096, the table of tokens, and all but the
// table and the last norm, which traces leave out.
constexpr double kLayer = 202383360, kTable = 32000.0 * 4096, kParameters = 32 * kLayer + kTable;

Setting setting(std::int64_t count, std::int64_t batch) {
  return test_setting("llama-2-7b", "H100", count, batch, 4096, [](auto&) {});
}

spec::ParallelPlan plan_of(int data, int zero, int shard) {
  spec::ParallelPlan plan;
  plan.data = data, plan.zero = zero, plan.shard = shard, plan.recompute = spec::Recompute::kFull;
  return plan;
}

StageMemory memory_of_plan(const Setting& s, const spec::ParallelPlan& plan) {
  Tracer tracer(s.model.config);
  const auto trace = tracer.get(plan_sharding(plan), {plan.micro_batch, s.training.sequence, 0});
  EXPECT_TRUE(trace.ok());
  const MemoryBasis held = memory_basis(s.model.config, **trace, s.training, plan, s.stack.stack);
  return stage_memory(held, plan, static_cast<double>(plan.micro_batches(s.job.batch)), 0);
}

TEST(PlanHsdp, MovesWhatItsDefinitionSays) {
  const Setting s = setting(32, 128);
  const StepBasis b = test_basis(s, plan_of(32, 3, 8));
  // A layer is gathered in 16 bits by the eight of a node, over their own links.
  const CurveValue gather =
      Curves::shipped().collective_seconds(s.accelerator, ops::Collective::kAllGather, 8, 2 * kLayer);
  EXPECT_NEAR(b.dense_gather / gather.value, 1, 1e-12);
  // A ring over the four nodes: 2 (4 - 1) / 4 of a shard of 1/8 of all gradients in 16 bits, through the one
  // NIC of 50 GB/s that each has.
  EXPECT_NEAR(b.groups_network / (2 * 0.75 * 2 * kParameters / 8 / 50e9), 1, 1e-12);
  EXPECT_EQ(b.groups_inside, 0);
  EXPECT_EQ(b.gradients_network + b.gradients_inside, 0);  // they go away with their layer
  // Groups of two nodes: the layer crosses the NICs of a node, 15/16 of it, and a sixteenth is summed by two.
  const StepBasis wide = test_basis(s, plan_of(32, 3, 16));
  EXPECT_NEAR(wide.dense_gather / (15.0 / 16 * 2 * kLayer / 8 / 50e9), 1, 1e-12);
  EXPECT_NEAR(wide.groups_network / (2 * 0.5 * 2 * kParameters / 16 / 50e9), 1, 1e-12);
  // ZeRO-1 in groups sums inside them first.
  const StepBasis one = test_basis(s, plan_of(32, 1, 8));
  const CurveValue sum =
      Curves::shipped().collective_seconds(s.accelerator, ops::Collective::kAllReduce, 8, 2 * kParameters);
  EXPECT_NEAR(one.gradients_inside / sum.value, 1, 1e-12);
  EXPECT_NEAR(one.groups_network, b.groups_network, 1e-12);
}

TEST(PlanHsdp, HoldsWhatAGroupShares) {
  const Setting s = setting(32, 128);
  const StageMemory m = memory_of_plan(s, plan_of(32, 3, 8));
  const double all = kParameters + kTable;
  EXPECT_NEAR(m.weights / (2 * all / 8), 1, 1e-12);
  EXPECT_NEAR(m.gradients / (4 * all / 8), 1, 1e-12);
  EXPECT_NEAR(m.optimizer / (12 * all / 8), 1, 1e-12);
}

TEST(PlanHsdp, OneGroupIsZeroAndGroupsOfOneArePlainReplicas) {
  const Setting s = setting(32, 128);
  const std::pair<spec::ParallelPlan, spec::ParallelPlan> same[] = {{plan_of(32, 3, 32), plan_of(32, 3, 0)},
                                                                    {plan_of(32, 2, 32), plan_of(32, 2, 0)},
                                                                    {plan_of(32, 3, 1), plan_of(32, 0, 0)},
                                                                    {plan_of(32, 2, 1), plan_of(32, 0, 0)},
                                                                    {plan_of(32, 1, 1), plan_of(32, 0, 0)}};
  for (const auto& [shared, plain] : same) {
    EXPECT_NEAR(step_seconds(test_basis(s, shared), s.stack.constants) /
                    step_seconds(test_basis(s, plain), s.stack.constants),
                1, 1e-12)
        << shared.text();
    const StageMemory a = memory_of_plan(s, shared), b = memory_of_plan(s, plain);
    EXPECT_DOUBLE_EQ(a.total(), b.total()) << shared.text();
    EXPECT_DOUBLE_EQ(a.buffers, b.buffers) << shared.text();
  }
}

TEST(PlanHsdp, OverSlowNicsGroupsAreFasterThanSharingByAll) {
  Setting s = setting(256, 256);
  s.accelerator.values[static_cast<int>(Field::kNic)] = 3;
  const double all = step_seconds(test_basis(s, plan_of(256, 3, 0)), s.stack.constants);
  const double groups = step_seconds(test_basis(s, plan_of(256, 3, 8)), s.stack.constants);
  EXPECT_LT(groups, 0.8 * all);
}

TEST(PlanHsdp, ExpertsAreSharedByThoseOfAGroupThatHoldThem) {
  spec::TrainJob job;
  job.batch = 128, job.sequence = 4096, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100", cluster.accelerators = 32;
  const auto s = make_setting(*find_model("mixtral-8x7b"), job, cluster);
  ASSERT_TRUE(s.ok());
  spec::ParallelPlan plan = plan_of(32, 3, 16);
  plan.expert = 8;
  const double routed =
      32 * 3 * 4096.0 * 14336;  // of one expert in all layers; there are eight, on eight ranks
  // The last norm is not traced, nor a router's rows for the experts of other ranks.
  const double untraced = 32 * 4096.0 * 7 + 4096;
  const double others = static_cast<double>(s->model.config.parameter_count()) - 8 * routed - untraced;
  const StageMemory m = memory_of_plan(*s, plan);
  EXPECT_NEAR(m.optimizer / (12 * (others / 16 + routed / 2)), 1, 1e-9);
  // Two of a group hold the same expert; the two groups then sum their halves over the NICs, as they do with
  // a sixteenth of the rest, the table of tokens apart.
  const double bytes = 2 * ((others - kTable) / 16 + routed / 2);
  EXPECT_NEAR(test_basis(*s, plan).groups_network / (2 * 0.5 * bytes / 50e9), 1, 1e-9);
}

}  // namespace
}  // namespace tw::plan
