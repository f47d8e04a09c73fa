// State in the hosts' memory: bytes by DeepSpeed's estimators (estimate_zero2_model_states_mem_needs and
// estimate_zero3_model_states_mem_needs without their buffer factor), transfers by ZeRO-Offload's figure 3.
#include <gtest/gtest.h>

#include "plan/estimate.h"
#include "plan/test_setting.h"

namespace tw::plan {
namespace {

using spec::Offload;

// Of llama-2-7b: the table of tokens, and all but the last norm, which traces leave out.
constexpr double kTable = 32000.0 * 4096, kAll = 32 * 202383360.0 + 2 * kTable;

Setting setting(const char* model, const char* accelerator, std::int64_t count, std::int64_t batch,
                std::int64_t sequence = 4096) {
  return test_setting(model, accelerator, count, batch, sequence, [](spec::ClusterSpec& cluster) {
    cluster.host_memory = {256e9, true}, cluster.host_bandwidth = {50e9, true};
    cluster.host_link = {25e9, true};
  });
}

spec::ParallelPlan plan_of(int data, int zero, Offload offload) {
  spec::ParallelPlan plan;
  plan.data = data, plan.zero = zero, plan.offload = offload, plan.recompute = spec::Recompute::kFull;
  return plan;
}

double seconds_of(const Setting& s, const spec::ParallelPlan& plan) {
  return step_seconds(test_basis(s, plan), s.stack.constants);
}

void with(Setting& s, Field field, double value) {
  s.accelerator.values[static_cast<int>(field)] = value;
}

TEST(PlanOffload, HoldsWhatDeepSpeedEstimates) {
  const Setting s = setting("llama-2-7b", "H100", 8, 64);
  const auto held = [&](int zero, Offload offload) {
    const auto e = estimate(s, plan_of(8, zero, offload));
    EXPECT_TRUE(e.ok()) << e.error().text();
    return e->stages[0];
  };
  const StageMemory two = held(2, Offload::kOptimizer);
  EXPECT_DOUBLE_EQ(two.weights + two.gradients + two.optimizer, 2 * kAll);
  EXPECT_DOUBLE_EQ(two.host(), 16 * kAll / 8);
  const StageMemory three = held(3, Offload::kOptimizer);
  EXPECT_DOUBLE_EQ(three.weights + three.gradients + three.optimizer, 2 * kAll / 8);
  EXPECT_DOUBLE_EQ(three.host(), 16 * kAll / 8);
  const StageMemory all = held(3, Offload::kParameters);
  EXPECT_EQ(all.weights + all.gradients + all.optimizer, 0);
  EXPECT_DOUBLE_EQ(all.host(), 18 * kAll / 8);
  EXPECT_GT(all.buffers, 0);  // the layers that are fetched
  const StageMemory none = held(3, Offload::kNone);
  EXPECT_EQ(none.host(), 0);
  // With zero 1 gradients stay until all of them are known.
  EXPECT_DOUBLE_EQ(held(1, Offload::kOptimizer).gradients, 4 * kAll);
}

TEST(PlanOffload, ThirteenBillionFitOneV100AsInThePaper) {
  // arXiv 2101.06840: "over 13 billion parameters on a single GPU" of 32 GB, sequences of 1,024.
  Setting s = setting("llama-2-13b", "V100 SXM2 32GB", 1, 16, 1024);
  const auto fits = estimate(s, plan_of(1, 2, Offload::kOptimizer));
  ASSERT_TRUE(fits.ok()) << fits.error().text();
  EXPECT_TRUE(fits->fits()) << fits->memory_text();
  EXPECT_FALSE(estimate(s, plan_of(1, 2, Offload::kNone))->fits());
  with(s, Field::kHostMemory, 200);  // of 208 GB
  const auto crowded = estimate(s, plan_of(1, 2, Offload::kOptimizer));
  EXPECT_FALSE(crowded->fits());
  EXPECT_NE(crowded->memory_text().find("its hosts need 208 GB of 200 GB"), std::string::npos)
      << crowded->memory_text();
}

TEST(PlanOffload, MovesTwoBytesOfAParameterEachWay) {
  const Setting s = setting("llama-2-7b", "H100", 8, 64);
  const double rate = 0.8 * 25e9, own = (kAll - kTable) / 8;
  const StepBasis two = test_basis(s, plan_of(8, 2, Offload::kOptimizer));
  EXPECT_NEAR(32 * two.dense_down / (2 * own / rate), 1, 1e-12);
  EXPECT_EQ(two.dense_up, 0);
  EXPECT_NEAR(two.optimizer / (34 * own / (0.8 * 50e9)), 1, 1e-12);
  const StepBasis all = test_basis(s, plan_of(8, 3, Offload::kParameters));
  EXPECT_NEAR(32 * all.dense_up / (2 * own / rate), 1, 1e-12);
  EXPECT_EQ(all.dense_down, all.dense_up);
  // Fast hosts wait for new parameters; those of `parameters` stay where they are.
  Setting fast = s;
  with(fast, Field::kHostBandwidth, 1e6);
  EXPECT_NEAR(test_basis(fast, plan_of(8, 2, Offload::kOptimizer)).optimizer / (2 * own / rate), 1, 1e-12);
  EXPECT_LT(test_basis(fast, plan_of(8, 3, Offload::kParameters)).optimizer, 0.01);
}

TEST(PlanOffload, ASlowLinkIsWaitedForByItsBytes) {
  // Eight micro-batches of gradients down, and new parameters up once: 18 bytes a parameter.
  Setting slow = setting("llama-2-7b", "H100", 8, 64), slower = slow;
  for (Setting* s : {&slow, &slower}) with(*s, Field::kHostBandwidth, 1e6);
  with(slow, Field::kHostLink, 0.2), with(slower, Field::kHostLink, 0.1);
  const spec::ParallelPlan plan = plan_of(8, 2, Offload::kOptimizer);
  const double more = 18 * (kAll - kTable) / 8 / 0.8 * (1 / 0.1e9 - 1 / 0.2e9);
  EXPECT_NEAR((seconds_of(slower, plan) - seconds_of(slow, plan)) / more, 1, 1e-9);
  const auto e = estimate(slower, plan);
  ASSERT_TRUE(e.ok());
  EXPECT_NEAR(e->step.total(), e->step_seconds, 1e-9 * e->step_seconds);
  EXPECT_GT(e->step.host, 0.5 * e->step_seconds);
  EXPECT_NEAR(e->closed_seconds / e->step_seconds, 1, 0.005);
}

TEST(PlanOffload, OfEndlessHostsOnlyTheUpdateIsSaved) {
  Setting s = setting("llama-2-7b", "H100", 8, 64);
  with(s, Field::kHostBandwidth, 1e9), with(s, Field::kHostLink, 1e9);
  for (const auto& [zero, offload] :
       {std::pair(1, Offload::kOptimizer), std::pair(2, Offload::kOptimizer),
        std::pair(3, Offload::kOptimizer), std::pair(3, Offload::kParameters)}) {
    const StepBasis plain = test_basis(s, plan_of(8, zero, Offload::kNone));
    EXPECT_NEAR(
        seconds_of(s, plan_of(8, zero, offload)) / (step_seconds(plain, s.stack.constants) - plain.optimizer),
        1, 1e-6);
  }
}

TEST(PlanOffload, WhatNobodySaysIsNamed) {
  Setting s = setting("llama-2-7b", "H100", 8, 64);
  for (const auto& [field, flag] :
       {std::pair(Field::kHostMemory, "--host-memory"), std::pair(Field::kHostBandwidth, "--host-bandwidth"),
        std::pair(Field::kHostLink, "--host-link")}) {
    Setting blank = s;
    blank.accelerator.values[static_cast<int>(field)].reset();
    const auto e = estimate(blank, plan_of(8, 2, Offload::kOptimizer));
    ASSERT_FALSE(e.ok());
    EXPECT_NE(e.error().message.find(flag), std::string::npos) << e.error().message;
    EXPECT_NE(e.error().message.find(field_info(field).column), std::string::npos) << e.error().message;
    EXPECT_TRUE(estimate(blank, plan_of(8, 2, Offload::kNone)).ok());
  }
}

TEST(PlanOffload, TheCatalogueKnowsGraceHopper) {
  const auto gh200 = *Catalogue::shipped().find("GH200 (96GB HBM3)");
  EXPECT_EQ(gh200->get(Field::kHostLink)->value, 450);
  EXPECT_EQ(gh200->get(Field::kHostMemory)->unit, "GB");
  EXPECT_FALSE((*Catalogue::shipped().find("H100"))->get(Field::kHostMemory).ok());
}

TEST(PlanOffload, FiguresHaveRanges) {
  const auto e = estimate(setting("llama-2-7b", "H100", 8, 64), plan_of(8, 3, Offload::kParameters));
  ASSERT_TRUE(e.ok());
  int found = 0;
  for (const Figure& f : e->figures) {
    if (!f.key.starts_with("host_")) continue;
    ++found;
    ASSERT_TRUE(f.value);
    EXPECT_LE(f.value->low, f.value->value);
    EXPECT_GE(f.value->high, f.value->value);
    EXPECT_FALSE(f.value->unit.empty() || f.how.empty());
  }
  EXPECT_EQ(found, 3);
}

}  // namespace
}  // namespace tw::plan
