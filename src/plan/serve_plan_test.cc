#include "plan/serve_plan.h"

#include <gtest/gtest.h>

namespace tw::plan {
namespace {

spec::ServeJob job_of(std::int64_t input, std::int64_t output) {
  spec::ServeJob job;
  job.input = input, job.output = output;
  return job;
}

base::Result<ServeAnswer> serve(const std::string& model, int accelerators, const spec::ServeJob& job,
                                const char* accelerator = "H100 SXM") {
  spec::ClusterSpec cluster;
  cluster.accelerator = accelerator, cluster.accelerators = accelerators;
  cluster.rent = {2.5, true};
  auto setting = make_serve_setting(*find_model(model), job, cluster);
  if (!setting.ok()) return setting.error();
  return plan_serving(*setting);
}

double figure(const ServeAnswer& a, const std::string& key) {
  for (const Figure& f : a.figures) {
    if (f.key == key && f.value) return f.value->value;
  }
  ADD_FAILURE() << key << " is missing";
  return 0;
}

TEST(PlanServing, WhatDoesNotFitNamesTheNearestThatDoes) {
  // 141 GB of weights; two ranks have 155 GB besides what must be left.
  const auto one = serve("llama-3-70b", 1, job_of(1024, 128));
  ASSERT_FALSE(one.ok());
  EXPECT_NE(one.error().message.find("141 GB"), std::string::npos) << one.error().message;
  EXPECT_NE(one.error().message.find("on 2 accelerators"), std::string::npos) << one.error().message;
  EXPECT_TRUE(serve("llama-3-70b", 2, job_of(1024, 128)).ok());
}

TEST(PlanServing, KeepsToTargetsOrSaysWhatComesNearest) {
  spec::ServeJob job = job_of(1024, 256);
  const auto free = serve("llama-3-8b", 8, job);
  ASSERT_TRUE(free.ok());
  job.tpot = {0.9 * free->best.output_token, true};
  const auto kept = serve("llama-3-8b", 8, job);
  ASSERT_TRUE(kept.ok()) << kept.error().text();
  EXPECT_LE(kept->best.output_token, job.tpot.value);
  EXPECT_LE(kept->best.tokens_per_second, free->best.tokens_per_second);
  job.tpot = {1e-5, true};
  const auto none = serve("llama-3-8b", 8, job);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("the nearest is tp"), std::string::npos) << none.error().message;
}

TEST(PlanServing, ARateIsKeptUpWith) {
  spec::ServeJob job = job_of(1024, 256);
  job.rate = 20;
  const auto answer = serve("llama-3-8b", 4, job);
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_GE(0.8 * answer->best.requests_per_second, 20);
  EXPECT_LT(figure(*answer, "simulated_ttft_seconds"), 1);
  // What arrives is served: 20 requests a second of 0.9 x 256 tokens.
  EXPECT_NEAR(figure(*answer, "simulated_tokens_per_second"), 20 * 0.9 * 256, 0.15 * 20 * 0.9 * 256);
  job.rate = 1e5;
  EXPECT_FALSE(serve("llama-3-8b", 4, job).ok());
}

TEST(PlanServing, CostsWhatTheHoursAndTokensSay) {
  spec::ServeJob job = job_of(512, 128);
  job.concurrency = 64;
  const auto answer = serve("llama-3-8b", 2, job);
  ASSERT_TRUE(answer.ok());
  EXPECT_NEAR(figure(*answer, "usd_per_million_tokens"),
              2 * 2.5 / (answer->best.tokens_per_second * 3600 / 1e6), 1e-9);
  EXPECT_LE(answer->best.cache, answer->best.room);
  EXPECT_DOUBLE_EQ(answer->best.batch * answer->best.groups, 64);
}

TEST(PlanServing, FixedSizesAreKept) {
  spec::ServeJob job = job_of(1024, 256);
  job.tp = 4, job.batch = 8;
  const auto answer = serve("llama-3-70b", 8, job);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->best.split.tensor, 4);
  EXPECT_EQ(answer->best.batch, 8);
  job.tp = 3;
  EXPECT_FALSE(serve("llama-3-70b", 8, job).ok());
}

TEST(PlanServing, AJobWithoutLengthsIsRefused) {
  EXPECT_FALSE(serve("llama-3-8b", 1, spec::ServeJob{}).ok());
  spec::ServeJob both = job_of(10, 10);
  both.rate = 1, both.concurrency = 1;
  EXPECT_FALSE(serve("llama-3-8b", 1, both).ok());
}

TEST(SimulateScheduler, AgreesWithTheMixedPolicy) {
  Tracer tracer(find_model("llama-3-8b")->config);
  auto costs = ServeCosts::make(tracer, {}, **Catalogue::shipped().find("H100"), Precision::kBf16, 2);
  ASSERT_TRUE(costs.ok());
  ServeLoad load{1024, 128, 16};
  load.shortest = 0.8;
  const double memory = 80 * 0x1p30;
  const ServeStack stack = serve_stack_of("vllm");
  const Served ours = simulate_scheduler(*costs, kTypicalServing, load, memory, {8192, 0}, 200);
  const Served light = simulate_serving(*costs, stack, kTypicalServing, load, memory, 200);
  EXPECT_NEAR(ours.output_token / light.output_token, 1, 0.05);
  EXPECT_NEAR(ours.first_token / light.first_token, 1, 0.15);
  EXPECT_NEAR(ours.tokens_per_second / light.tokens_per_second, 1, 0.05);
}

TEST(SimulateScheduler, AStretchKeepsAnswersFluentAndMakesPromptsWait) {
  Tracer tracer(find_model("llama-3-8b")->config);
  auto costs = ServeCosts::make(tracer, {}, **Catalogue::shipped().find("H100"), Precision::kBf16, 2);
  ASSERT_TRUE(costs.ok());
  ServeConstants constants = kTypicalServing;
  constants[static_cast<int>(ServeConstant::kLaunch)] = 0;
  ServeLoad load{8192, 64, 8};
  const double memory = 80 * 0x1p30;
  const Served free = simulate_scheduler(*costs, constants, load, memory, {8192, 0}, 80);
  const Served bound = simulate_scheduler(*costs, constants, load, memory, {8192, 2}, 80);
  EXPECT_LT(bound.output_token, free.output_token);
  EXPECT_GT(bound.first_token, free.first_token);
}

}  // namespace
}  // namespace tw::plan
