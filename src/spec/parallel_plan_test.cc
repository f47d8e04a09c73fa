#include "spec/parallel_plan.h"

#include <gtest/gtest.h>

namespace tw::spec {
namespace {

ModelConfig model() {
  ModelConfig c;
  c.layers = 48, c.width = 6144, c.heads = c.kv_heads = 64, c.head_dim = 96, c.ffn_width = 24576,
  c.vocab = 51200;
  c.context = 2048;
  return c;
}

TEST(ParallelPlan, SaysWhatWouldDivide) {
  ParallelPlan plan;
  plan.data = 4, plan.tensor = 8, plan.pipeline = 2;
  EXPECT_TRUE(plan.validate(model(), 64, 64).ok());
  EXPECT_NE(plan.validate(model(), 128, 64).error().text().find("dp 8 would fit"), std::string::npos);
  plan.tensor = 7, plan.data = 4, plan.pipeline = 2;
  EXPECT_NE(plan.validate(model(), 64, 64).error().text().find("dp 4 tp 8 would fit"), std::string::npos);
  plan.tensor = 8, plan.context = 16, plan.pipeline = 1, plan.data = 1;
  EXPECT_NE(plan.validate(model(), 64, 64).error().text().find("dp 1 tp 4 would fit"), std::string::npos)
      << plan.validate(model(), 64, 64).error().text();
  plan.context = 1, plan.data = 4, plan.pipeline = 2;
  EXPECT_NE(plan.validate(model(), 64, 62).error().text().find("dp 4 x micro-batch 1: a batch of 60 would"),
            std::string::npos);
  plan.micro_batch = 3;  // 64 / 4 leaves 16, of which 4 is the divisor next to 3
  EXPECT_NE(plan.validate(model(), 64, 64).error().text().find("micro-batch 4 would"), std::string::npos);
  plan.micro_batch = 0;
  EXPECT_NE(plan.validate(model(), 64, 64).error().text().find("micro-batch is 0, but must be 1 to"),
            std::string::npos);
  plan.micro_batch = 1;
  plan.tensor = 6, plan.data = 1, plan.pipeline = 1;
  EXPECT_NE(plan.validate(model(), 6, 64).error().text().find("tp 8 would"), std::string::npos);
  plan.tensor = 1, plan.pipeline = 64;
  EXPECT_NE(plan.validate(model(), 64, 64).error().text().find("pp 48 would"), std::string::npos);
  plan.pipeline = 8, plan.interleave = 7;
  EXPECT_FALSE(plan.validate(model(), 8, 64).ok());
  plan.interleave = 2, plan.zero_bubble = true;
  EXPECT_NE(plan.validate(model(), 8, 64).error().text().find("zero-bubble needs stages of one piece"),
            std::string::npos);
  plan.zero_bubble = false;
  plan.interleave = 3, plan.zero = 4;
  EXPECT_FALSE(plan.validate(model(), 8, 64).ok());
}

TEST(ParallelPlan, GroupsThatShareDivideTheReplicas) {
  ParallelPlan plan;
  plan.data = 16, plan.zero = 3, plan.shard = 8;
  EXPECT_TRUE(plan.validate(model(), 16, 64).ok());
  EXPECT_NE(plan.text().find("zero 3 shard 8"), std::string::npos) << plan.text();
  EXPECT_EQ(plan.sharers(), 8);
  plan.shard = 3;
  EXPECT_NE(plan.validate(model(), 16, 64).error().text().find("dp x cp (16) does not divide by shard 3"),
            std::string::npos);
  plan.shard = -1;
  EXPECT_FALSE(plan.validate(model(), 16, 64).ok());
  plan.shard = 8, plan.zero = 0;
  EXPECT_NE(plan.validate(model(), 16, 64).error().text().find("zero 3 would"), std::string::npos);
  plan.shard = 1;  // each rank for itself: what zero 0 is
  EXPECT_TRUE(plan.validate(model(), 16, 64).ok());
  ModelConfig mixture = model();
  mixture.experts = {16, 2, 0, 1024, 0, 0};
  plan.zero = 3, plan.shard = 8, plan.expert = 16;
  EXPECT_NE(plan.validate(mixture, 16, 64).error().text().find("shard x tp (8) does not divide by ep 16"),
            std::string::npos);
  plan.shard = 16;
  EXPECT_TRUE(plan.validate(mixture, 16, 64).ok());
}

TEST(ParallelPlan, ParametersAreOffloadedLayerByLayer) {
  ParallelPlan plan;
  plan.data = 16, plan.zero = 2, plan.offload = Offload::kParameters;
  EXPECT_NE(plan.validate(model(), 16, 64).error().text().find("offload optimizer would do"),
            std::string::npos);
  plan.offload = Offload::kOptimizer;
  EXPECT_TRUE(plan.validate(model(), 16, 64).ok());
  EXPECT_NE(plan.text().find("offload optimizer"), std::string::npos);
  plan.zero = 3, plan.offload = Offload::kParameters;
  EXPECT_TRUE(plan.validate(model(), 16, 64).ok());
}

TEST(ParallelPlan, MoreRanksThanCanBeCountedAreTold) {
  ParallelPlan plan;
  plan.data = plan.tensor = plan.pipeline = plan.context = 1 << 20;  // 2^80: 0 in 64 bits
  const auto status = plan.validate(model(), 8, 64);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().text().find("cp 1048576 are more than 1073741824 accelerators"), std::string::npos)
      << status.error().text();
}

TEST(ModelConfig, PartsDivideWhatTensorParallelismDivides) {
  ModelConfig c = model();
  c.kv_heads = 4;
  const auto part = c.part(8, 1);
  ASSERT_TRUE(part.ok());
  EXPECT_EQ(part->heads, 8);
  EXPECT_EQ(part->kv_heads, 1);
  EXPECT_EQ(part->ffn_width, 3072);
  EXPECT_EQ(part->width, 6144);
  EXPECT_FALSE(c.part(5, 1).ok());
}

TEST(ModelConfig, WhatCannotRunNamesItsOp) {
  ModelConfig c = model();
  EXPECT_TRUE(c.runnable().ok());
  c.latent.kv_rank = 512;
  EXPECT_NE(c.runnable().error().text().find("latent_qkv"), std::string::npos);
  c.latent.kv_rank = 0;
  c.experts = {8, 2, 0, 1024, 0, 0};
  EXPECT_TRUE(c.runnable().ok());
  EXPECT_LT(c.active_parameter_count(), c.parameter_count());
  const std::int64_t without = c.parameter_count();
  c.experts.shared = 1;
  EXPECT_TRUE(c.runnable().ok());
  EXPECT_EQ(c.parameter_count(), without + c.layers * 3 * c.width * 1024) << "as wide as another";
  c.experts.shared_width = 1536;
  EXPECT_EQ(c.parameter_count(), without + c.layers * 3 * c.width * 1536);
  EXPECT_EQ(c.part(8, 1)->experts.shared_width, 192);
  c.experts.shared_width = 1 << 23;
  EXPECT_FALSE(c.validate().ok());
}

}  // namespace
}  // namespace tw::spec
