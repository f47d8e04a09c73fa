#include "plan/memory.h"

#include <gtest/gtest.h>

#include "plan/presets.h"

namespace tw::plan {
namespace {

const Stack kMegatron2022{"Megatron-LM 2022", false, 1, false, false};

double kept(const char* model, int tensor, bool sequence, spec::Recompute recompute) {
  const auto found = find_model(model);
  EXPECT_TRUE(found.ok());
  Tracer tracer(found->config);
  const auto trace = tracer.get({tensor, 1, 1, sequence}, {1, 2048, 0});
  EXPECT_TRUE(trace.ok());
  return kept_by((*trace)->dense, kMegatron2022).bytes[static_cast<int>(recompute)];
}

TEST(PlanMemory, KeepsWhatKorthikantiCounts) {
  // arXiv 2205.05198, table 2, for GPT-3: bytes of a layer.
  const double s = 2048, h = 12288, a = 96, sbh = s * h, scores = 5 * a * s / h;
  using spec::Recompute;
  EXPECT_NEAR(kept("gpt3-175b", 1, false, Recompute::kNone) / (sbh * (34 + scores)), 1, 1e-9);
  EXPECT_NEAR(kept("gpt3-175b", 8, false, Recompute::kNone) / (sbh * (10 + 24 / 8.0 + scores / 8)), 1, 1e-9);
  EXPECT_NEAR(kept("gpt3-175b", 8, true, Recompute::kNone) / (sbh / 8 * (34 + scores)), 1, 1e-9);
  EXPECT_NEAR(kept("gpt3-175b", 8, true, Recompute::kSelective) / (sbh * 34 / 8), 1, 1e-9);
  EXPECT_NEAR(kept("gpt3-175b", 1, false, Recompute::kFull) / (2 * sbh), 1, 1e-9);
}

MemoryBasis basis_of(const PlannedModel& model, const spec::ParallelPlan& plan, std::int64_t sequence) {
  Tracer tracer(model.config);
  const auto trace = tracer.get(plan_sharding(plan), {plan.micro_batch, sequence, 0});
  EXPECT_TRUE(trace.ok());
  return memory_basis(model.config, **trace, {sequence, 64, Precision::kBf16}, plan, Stack{});
}

TEST(PlanMemory, AParametersStateIsEighteenBytesAndZeroSharesIt) {
  const auto model = *find_model("llama-2-7b");
  spec::ParallelPlan plan;
  plan.data = 8;
  const double parameters = static_cast<double>(model.config.parameter_count());
  // arXiv 1910.02054, with gradients in fp32: 6 + 12/dp, 2 + 16/dp and 18/dp.
  const double expected[] = {18, 6 + 12 / 8.0, 2 + 16 / 8.0, 18 / 8.0};
  for (int zero = 0; zero <= 3; ++zero) {
    plan.zero = zero;
    const StageMemory m = most_memory(basis_of(model, plan, 2048), plan, 8);
    EXPECT_NEAR((m.weights + m.gradients + m.optimizer) / parameters, expected[zero], 1e-3) << zero;
    EXPECT_EQ(m.buffers > 0, zero == 3);
  }
}

TEST(PlanMemory, StagesHoldWhatIsInFlight) {
  const auto model = *find_model("llama-3-70b");
  spec::ParallelPlan plan;
  plan.pipeline = 4, plan.tensor = 8, plan.sequence = true, plan.data = 1;
  const MemoryBasis b = basis_of(model, plan, 8192);
  const double layer = b.dense.bytes[0];
  EXPECT_DOUBLE_EQ(stage_memory(b, plan, 64, 0).activations, 4 * 20 * layer);
  EXPECT_DOUBLE_EQ(stage_memory(b, plan, 2, 0).activations, 2 * 20 * layer);
  EXPECT_DOUBLE_EQ(stage_memory(b, plan, 64, 3).activations, 20 * layer + b.head);
  EXPECT_GT(stage_memory(b, plan, 64, 3).logits, 0);
  plan.interleave = 5;  // L (1 + (p - 1) / (p v)): arXiv 2205.05198, section 4.2.3
  EXPECT_NEAR(stage_memory(b, plan, 64, 0).activations / (80 * layer * (1 + 3 / 20.0)), 1, 1e-12);
  plan.recompute = spec::Recompute::kFull;
  EXPECT_LT(stage_memory(b, plan, 64, 0).activations, 10 * 80 * layer);
}

TEST(PlanMemory, ZeroBubbleKeepsWhatWeightGradientsAreMadeFrom) {
  // arXiv 2401.10241, table 1: M_B = s b h (34 + 5 a s / h) a layer, M_W = 32 s b h.
  const auto gpt3 = *find_model("gpt3-175b");
  Tracer tracer(gpt3.config);
  const auto trace = tracer.get({1, 1, 1, false}, {1, 2048, 0});
  ASSERT_TRUE(trace.ok());
  const LayerKept kept = kept_by((*trace)->dense, kMegatron2022);
  const double sbh = 2048.0 * 12288;
  EXPECT_NEAR(kept.weight / (32 * sbh), 1, 1e-9);
  // ZB-H1 is to hold no more than the first stage of 1F1B, p M_B: no stage of it does.
  spec::ParallelPlan plan;
  plan.pipeline = 8, plan.tensor = 1;
  MemoryBasis b;
  b.layers = b.dense_layers = 96;
  b.dense = kept;
  const double first = stage_memory(b, plan, 64, 0).activations;
  plan.zero_bubble = true;
  EXPECT_EQ(stage_memory(b, plan, 64, 0).activations, first);
  for (int stage = 1; stage < 8; ++stage) {
    EXPECT_LT(stage_memory(b, plan, 64, stage).activations, first);
    EXPECT_NEAR(stage_memory(b, plan, 64, stage).activations,
                12 * ((8 - stage) * kept.bytes[0] + stage * kept.weight), 1);
  }
  // Recomputation cannot spare them: with it, the last stages are the fullest.
  plan.recompute = spec::Recompute::kFull;
  EXPECT_GT(stage_memory(b, plan, 64, 7).activations, 2 * stage_memory(b, plan, 64, 0).activations);
  EXPECT_NEAR(stage_memory(b, plan, 2, 7).activations - stage_memory(b, plan, 2, 0).activations,
              12 * (2 * kept.weight - kept.bytes[2]), 1);
}

TEST(PlanMemory, Llama3FitsAsItWasTrainedAndNotWithoutSharing) {
  // arXiv 2407.21783, table 4: 16,384 H100 of 80 GB, tp 8, pp 16, dp 128, 8,192 tokens, no recomputation.
  const auto model = *find_model("llama-3-405b");
  spec::ParallelPlan plan;
  plan.data = 128, plan.tensor = 8, plan.pipeline = 16, plan.sequence = true, plan.zero = 2;
  const MemoryBasis b = basis_of(model, plan, 8192);
  const double card = 80.0 * (1 << 30);
  EXPECT_LT(most_memory(b, plan, 16).total(), card);
  EXPECT_GT(most_memory(b, plan, 16).total(), card / 2);
  plan.zero = 0;
  EXPECT_GT(most_memory(b, plan, 16).total(), card);
}

}  // namespace
}  // namespace tw::plan
