#include "plan/estimate.h"

#include <gtest/gtest.h>

#include "plan/test_setting.h"

namespace tw::plan {
namespace {

Setting setting(const char* model, const char* accelerator, std::int64_t count, std::int64_t batch,
                std::int64_t sequence) {
  spec::TrainJob job;
  job.batch = batch, job.sequence = sequence, job.tokens = {15.6e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = accelerator, cluster.accelerators = count;
  auto made = make_setting(*find_model(model), job, cluster);
  EXPECT_TRUE(made.ok());
  return *made;
}

double value(const Estimate& e, const std::string& key) {
  for (const Figure& f : e.figures) {
    if (f.key == key && f.value) return f.value->value;
  }
  ADD_FAILURE() << "no figure " << key;
  return 0;
}

spec::ParallelPlan llama3_plan() {
  spec::ParallelPlan plan;
  plan.data = 128, plan.tensor = 8, plan.pipeline = 16, plan.sequence = true, plan.zero = 2;
  return plan;
}

TEST(PlanEstimate, Llama3AsItWasTrained) {
  // arXiv 2407.21783: 16,384 H100, 8,192 tokens, 16M tokens a step: 430 TFLOP/s each; 54 days for a part; the
  // whole took 30.84M GPU-hours (its model card), on fewer accelerators for a time.
  Setting s = setting("llama-3-405b", "H100", 16384, 2048, 8192);
  s.cluster.restart.value = 600, s.cluster.checkpoint.value = 10;  // "more than 90 % effective time"
  const auto e = estimate(s, llama3_plan());
  ASSERT_TRUE(e.ok()) << e.error().text();
  EXPECT_NEAR(value(*e, "goodput"), 91, 2);
  EXPECT_NEAR(value(*e, "mfu"), 41, 8);
  EXPECT_NEAR(value(*e, "accelerator_hours") / 30.84e6, 1, 0.25);
  EXPECT_NEAR(value(*e, "mtbf_hours"), 3.1, 0.1);
  EXPECT_NEAR(e->step.total(), e->step_seconds, 1e-6 * e->step_seconds);
  EXPECT_EQ(e->stages.size(), 16U);
  EXPECT_TRUE(e->fits()) << e->memory_text();
}

TEST(PlanEstimate, EveryFigureHasARangeAroundItsValue) {
  const Setting s = setting("llama-3-405b", "H100", 16384, 2048, 8192);
  const auto e = estimate(s, llama3_plan());
  ASSERT_TRUE(e.ok());
  for (const Figure& f : e->figures) {
    if (!f.value) {
      EXPECT_FALSE(f.missing.empty()) << f.key;
      continue;
    }
    EXPECT_LE(f.value->low, f.value->value) << f.key;
    EXPECT_GE(f.value->high, f.value->value) << f.key;
    EXPECT_GT(f.value->value, 0) << f.key;
    EXPECT_FALSE(f.value->unit.empty() || f.how.empty()) << f.key;
  }
}

TEST(PlanEstimate, WhatTheCatalogueLacksIsNamed) {
  Setting s = setting("llama-3-8b", "TPU v5p", 64, 1024, 8192);
  spec::ParallelPlan plan;
  plan.data = 64, plan.zero = 3, plan.recompute = spec::Recompute::kFull;
  const auto e = estimate(s, plan);
  ASSERT_TRUE(e.ok()) << e.error().text();
  for (const Figure& f : e->figures) {
    if (f.key != "megawatts") continue;
    EXPECT_FALSE(f.value);
    EXPECT_NE(f.missing.find("tdp_w"), std::string::npos) << f.missing;
  }
}

TEST(PlanEstimate, WhatLeavesADomainNeedsItsNic) {
  const auto lacks = [](const char* accelerator, std::int64_t count, const char* torus, std::int64_t nic) {
    const Setting s = test_setting("llama-2-7b", accelerator, count, 1024, 4096, [&](spec::ClusterSpec& c) {
      if (*torus != 0) c.network = "torus", c.torus = torus, c.torus_link = {90e9, true};
      if (nic > 0) c.nic = {static_cast<double>(nic), true};
      c.memory = {96e9, true}, c.peak = {1e15, true}, c.memory_bandwidth = {4e12, true};
    });
    spec::ParallelPlan plan;
    plan.data = static_cast<int>(count), plan.zero = 3, plan.recompute = spec::Recompute::kFull;
    const auto e = estimate(s, plan);
    return e.ok() ? std::string() : e.error().message;
  };
  // The line inside a domain is not the network: eight MI300X fill one, and a GH200 is alone in its own.
  EXPECT_EQ(lacks("MI300X", 8, "", 0), "");
  EXPECT_EQ(lacks("TPU v5p", 64, "", 0), "");
  EXPECT_EQ(lacks("TPU v7x", 64, "4x4x4", 0), "");
  for (const char* name : {"MI300X", "P100 SXM2 (DGX-1)", "B100", "MI325X", "GH200 (96GB HBM3)", "TPU v6e"}) {
    EXPECT_NE(lacks(name, 512, "", 0).find("nic_gbs"), std::string::npos) << name;
    EXPECT_NE(lacks(name, 512, "", 0).find("give --nic"), std::string::npos) << name;
    EXPECT_EQ(lacks(name, 512, "", 50'000'000'000), "") << name;
  }
  // Of slices of a torus what lies between them.
  EXPECT_NE(lacks("TPU v7x", 128, "4x4x4", 0).find("give --nic"), std::string::npos);
  EXPECT_EQ(lacks("TPU v7x", 128, "4x4x4", 25'000'000'000), "");
  // Where a domain ends nobody says of these.
  EXPECT_NE(lacks("Trainium2", 4, "", 0).find("give --scale-up "), std::string::npos);
  EXPECT_EQ(lacks("Trainium2", 1, "", 0), "");
}

TEST(PlanEstimate, ARestartThatTakesLongerMakesMoreDays) {
  Setting s = setting("llama-3-405b", "H100", 16384, 2048, 8192);
  const double before = value(*estimate(s, llama3_plan()), "days");
  s.cluster.restart.value = 3600;
  EXPECT_GT(value(*estimate(s, llama3_plan()), "days"), 1.2 * before);
}

TEST(PlanEstimate, PlansThatDoNotDivideGetTheNearestThatDoes) {
  const Setting s = setting("llama-3-405b", "H100", 16384, 2048, 8192);
  spec::ParallelPlan plan = llama3_plan();
  plan.interleave = 3, plan.data = 64, plan.pipeline = 32;
  const auto e = estimate(s, plan);
  ASSERT_TRUE(e.ok());
  plan.interleave = 4;
  EXPECT_FALSE(estimate(s, plan).ok());
  plan.interleave = 1, plan.data = 100;
  const auto wrong = estimate(s, plan);
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("dp 64 would fit"), std::string::npos) << wrong.error().message;
}

TEST(PlanEstimate, ModelFlopsAreSixForEachParameterAndAttentions) {
  const auto model = *find_model("llama-2-7b");
  const auto flops = model_flops(model.config, {4096, 1, Precision::kBf16});
  ASSERT_TRUE(flops.ok());
  const double table = 32000.0 * 4096;
  const double weights = static_cast<double>(model.config.parameter_count()) - table;
  EXPECT_NEAR(*flops / (4096 * (6 * weights + 3 * 32 * 2 * 4096.0 * 4096)), 1, 1e-3);
}

}  // namespace
}  // namespace tw::plan
