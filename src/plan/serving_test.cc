#include "plan/serving.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "plan/serve_validate.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

ServeCosts costs_of(const std::string& model, ServeSplit split, const char* accelerator = "H100 SXM",
                    Precision precision = Precision::kBf16) {
  Tracer tracer(find_model(model)->config);
  auto costs = ServeCosts::make(tracer, split, **Catalogue::shipped().find(accelerator), precision, 2);
  EXPECT_TRUE(costs.ok()) << (costs.ok() ? "" : costs.error().text());
  return *costs;
}

constexpr double kMemory = 80 * 0x1p30;

TEST(ServeCosts, WeighWhatTheModelWeighs) {
  // 8.03 and 70.6 billion parameters in 16 bits.
  EXPECT_NEAR(costs_of("llama-3-8b", {}).weight_bytes(), 16.06e9, 0.02e9);
  ServeSplit four;
  four.tensor = 4;
  EXPECT_NEAR(costs_of("llama-3-70b", four).weight_bytes(), 70.55e9 * 2 / 4, 0.2e9);
  // Keys and values: 2 x 8 heads x 128 x 32 layers in 16 bits.
  EXPECT_DOUBLE_EQ(costs_of("llama-3-8b", {}).cache_bytes(), 2.0 * 8 * 128 * 32 * 2);
  // DeepSeek-V3's cache is 512 + 64 numbers a layer on each rank (arXiv 2412.19437).
  ServeSplit eight;
  eight.tensor = 8;
  EXPECT_DOUBLE_EQ(costs_of("deepseek-v3", eight).cache_bytes(), 576.0 * 61 * 2);
}

TEST(ServeCosts, FewTokensAreBoundByTheWeightsBytes) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const double one = serve_seconds(costs.step({1, 100, 0, 0, 0}), kTypicalServing);
  const double eight = serve_seconds(costs.step({8, 800, 0, 0, 0}), kTypicalServing);
  EXPECT_LT(eight, 1.2 * one);
  // 16 GB at 3.35 TB/s are 4.5 ms: nothing is faster, and nothing measured takes twice that.
  EXPECT_GT(one, 4.5e-3);
  EXPECT_LT(one, 10e-3);
  EXPECT_EQ(costs.provenance(), Provenance::kMeasured);
}

TEST(ServeCosts, ExpertsThatAreHitGrowWithTokens) {
  ServeSplit eight;
  eight.tensor = 8;
  ServeCosts costs = costs_of("deepseek-v3", eight, "H200 SXM", Precision::kFp8);
  const auto at = [&](double n) { return serve_seconds(costs.step({n, n, 0, 0, 0}), kTypicalServing); };
  EXPECT_GT(at(64), 2 * at(1));
  EXPECT_LT(at(64), 20 * at(1));
}

TEST(Simulation, OneRequestAtATimeWaitsForNobody) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("vllm");
  ServeLoad load{1000, 101, 1};
  const Served served = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 5);
  const double pairs = 1000.0 * 1001 / 2;
  EXPECT_NEAR(served.first_token, serve_seconds(costs.step({0, 0, 1000, pairs, 1000}), kTypicalServing),
              1e-9);
  // 100 steps, in whose middle 1,050 tokens are cached.
  EXPECT_NEAR(served.output_token, serve_seconds(costs.step({1, 1050.5, 0, 0, 0}), kTypicalServing), 1e-7);
  EXPECT_DOUBLE_EQ(served.batch, 1);
}

TEST(Simulation, KnownPromptsAreNotComputedAgain) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("vllm");
  ServeLoad load{1000, 101, 1};
  load.reused = 984;
  const double pairs = 16 * (984 + 8.5);
  const double known = serve_seconds(costs.step({0, 0, 16, pairs, 1000, 512}), kTypicalServing);
  EXPECT_NEAR(simulate_serving(costs, stack, kTypicalServing, load, kMemory, 5).first_token, known, 1e-9);
  // Two of ten are new.
  load.fresh = 0.2;
  const double whole = serve_seconds(costs.step({0, 0, 1000, 1000.0 * 1001 / 2, 1000}), kTypicalServing);
  EXPECT_NEAR(simulate_serving(costs, stack, kTypicalServing, load, kMemory, 10).first_token,
              0.2 * whole + 0.8 * known, 1e-9);
  // Of many at once, the closed form agrees.
  load.concurrency = 32, load.fresh = 0;
  const Served s = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 640);
  const double closed = output_token_seconds(serve_basis(costs, stack, load, kMemory), kTypicalServing);
  EXPECT_NEAR(s.output_token / closed, 1, 0.1);
  load.reused = 0;
  EXPECT_GT(simulate_serving(costs, stack, kTypicalServing, load, kMemory, 640).output_token,
            1.3 * s.output_token);
}

TEST(ServeBasis, AStepTakesAsManyPromptsAsItsTokens) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("trtllm");
  ServeLoad load{1000, 100, 16};
  EXPECT_EQ(serve_basis(costs, stack, load, kMemory).together, 8);  // of 8,192 tokens
  load.step_tokens = 2500;
  EXPECT_EQ(serve_basis(costs, stack, load, kMemory).together, 2);
  // Those that come at once are computed one after the other, and the first of them are answered sooner.
  load.step_tokens = 1100;
  const Served alone = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 16);
  load.step_tokens = 0;
  const Served together = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 16);
  EXPECT_NE(alone.first_token, together.first_token);
  EXPECT_NEAR(alone.tokens_per_second / together.tokens_per_second, 1, 0.3);
}

TEST(Simulation, TokensPerSecondAreThoseOfTheRequestsInFlight) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  for (const char* name : {"vllm", "trtllm", "sglang"}) {
    const ServeStack stack = serve_stack_of(name);
    ServeLoad load{512, 128, 16};
    load.shortest = 0.8;
    const Served s = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 800);
    // Little's law, with the client's time.
    EXPECT_NEAR(s.tokens_per_second, 16 * 128 * 0.9 / (s.request + kClientSeconds),
                0.05 * s.tokens_per_second)
        << name;
    EXPECT_LE(s.batch, 16) << name;
  }
}

TEST(Simulation, AgreesWithTheClosedFormWhereNothingQueues) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("vllm");
  ServeLoad load{1024, 1024, 32};
  load.shortest = 0.8;
  const double closed = output_token_seconds(serve_basis(costs, stack, load, kMemory), kTypicalServing);
  const Served s = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 640);
  EXPECT_NEAR(s.output_token / closed, 1, 0.05);
}

TEST(Simulation, ArrivalsFasterThanServiceQueue) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("vllm");
  ServeLoad load{1024, 256, 64};
  load.running = 64;
  load.rate = 1;
  const Served calm = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 200);
  load.rate = 100;
  const Served busy = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 200);
  EXPECT_LT(calm.first_token, 0.2);
  EXPECT_GT(busy.first_token, 5 * calm.first_token);
  EXPECT_GE(busy.first_token_99, busy.first_token);
}

TEST(Simulation, WhatIsLookedForSeldomWaits) {
  ServeCosts costs = costs_of("llama-3-8b", {});
  const ServeStack stack = serve_stack_of("sglang");
  ServeLoad load{512, 512, 16};
  load.shortest = 0.8;
  const Served often = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 160);
  load.receive = 30;
  const Served seldom = simulate_serving(costs, stack, kTypicalServing, load, kMemory, 160);
  // Half of 30 steps on average.
  const double step = serve_seconds(costs.step({16, 16 * 700, 0, 0, 0}), kTypicalServing);
  EXPECT_NEAR(seldom.first_token - often.first_token, 15 * step, 8 * step);
}

/// The columns of rows of what was measured.
const std::string kHead =
    "system,model,accelerator,count,precision,scenario,input_len,output_len,concurrency,throughput_tok_s,"
    "ttft_ms,itl_ms,source,parallel,power_w,note\n";

TEST(ServingRows, SayWhatTheyAre) {
  const auto rows = read_serving_rows(
      kHead +
          "NewServer 1,org/Qwen3-32B-Instruct,h100_sxm,2,fp8,x,1000,100,8,,50,10,s,tp2 pp1,,\n"
          "vllm,org/Mixtral-8x7B,h100_sxm,2,fp8,x,1000,100,8,,50,10,s,tp2 pp1,,\n"
          "vllm,Mystery-1B,h100_sxm,2,fp8,x,1000,100,8,,50,10,s,tp2 pp1,,\n"
          "sglang,deepseek-ai/DeepSeek-R1,gb200,2,fp4,d,1000,100,8,,50,10,s,disagg P:x(tp1) D:x(tp1),,\n"
          "trtllm,deepseek-ai/DeepSeek-R1,b200_sxm,64,fp8,x,1000,100,8,,50,10,s,agg tp64 adp1 moe_tp8 "
          "moe_ep8,,\n",
      "test");
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ((*rows)[0].set, "serve-dense");
  EXPECT_TRUE((*rows)[0].scored);
  EXPECT_EQ((*rows)[0].model->name, "qwen3-32b");
  EXPECT_EQ((*rows)[1].set, "serve-moe");
  EXPECT_FALSE((*rows)[2].scored);
  EXPECT_FALSE((*rows)[3].scored);
  EXPECT_NE((*rows)[3].problem.find("hides"), std::string::npos);
  EXPECT_EQ((*rows)[4].split.ranks(), 8);
}

TEST(ServingRows, OfGeneratedDeploymentsHaveTheirStepsAndPrompts) {
  const auto rows =
      read_serving_rows(kHead +
                            "trtllm 1.0,org/Qwen3-32B,h100_sxm,2,,x,1000,100,8,,50,10,aiconfigurator "
                            "id=q_epnone_1,agg tp2 pp1 bs8,,\n"
                            "vllm 0.12,org/Qwen3-32B,h100_sxm,2,,x,1000,100,16,,50,10,aiconfigurator "
                            "id=q_epnone_1,agg tp2 pp1 bs16,,\n"
                            "vllm 0.12,org/Qwen3-32B,h100_sxm,2,,x,1000,100,64,,50,10,aiconfigurator "
                            "id=q_epnone_1,agg tp2 pp1 bs64,,\n"
                            "vllm 0.12,org/Qwen3-32B,h100_sxm,2,,x,1000,100,64,,50,10,aiconfigurator "
                            "id=2026_q_1,agg tp2 pp1 bs64,,\n",
                        "test");
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ((*rows)[0].load.step_tokens, 8 + 1000 + 1500);
  EXPECT_EQ((*rows)[0].load.reused, 0);
  // Of 100 prompts 32 were seen while it warmed up; the other 68 are new to 160 requests.
  EXPECT_DOUBLE_EQ((*rows)[1].load.fresh, 68.0 / 160);
  EXPECT_EQ((*rows)[1].load.computed(1000), 16);
  EXPECT_EQ((*rows)[2].load.fresh, 0);
  EXPECT_EQ((*rows)[3].load.reused, 0);
}

TEST(ServingRows, ThatCannotBeMeantAreListedWithTheReason) {
  const auto rows =
      read_serving_rows(kHead +
                            "vllm,org/Qwen3-32B,h100_sxm,2,fp8,x,1000,100,8,,50,10,s,tp1e10 pp1,,\n"
                            "vllm,org/Qwen3-32B,h100_sxm,2,fp8,x,1000,100,1e8,,50,10,s,tp2 pp1,,\n"
                            "vllm,org/Qwen3-32B,h100_sxm,2,fp8,x,1000,1,8,,50,10,s,tp2 pp1,,\n",
                        "test");
  ASSERT_TRUE(rows.ok());
  const char* reasons[] = {"tp1e10", "more than 65536", "no time between tokens"};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_FALSE((*rows)[i].scored);
    EXPECT_NE((*rows)[i].problem.find(reasons[i]), std::string::npos) << (*rows)[i].problem;
  }
}

class ShippedRows : public testing::Test {
 protected:
  static const std::vector<ServingRow>& rows() {
    static const auto read = read_serving_rows(shipped("inference_measured.csv"), "inference_measured.csv");
    EXPECT_TRUE(read.ok());
    return *read;
  }
  static double value(const std::vector<SetScore>& scores, const std::string& set,
                      const std::string& metric) {
    for (const SetScore& s : scores) {
      if (s.set == set && s.metric == metric) return s.value;
    }
    ADD_FAILURE() << set << " " << metric << " is missing";
    return 0;
  }
};

TEST_F(ShippedRows, AreServedAsMeasured) {
  const std::vector<SetScore> scores = score_serving(predict_serving(rows(), rows()));
  EXPECT_LE(value(scores, "serve-dense", "TPOT MAPE %, closed form"), 14);
  EXPECT_LE(value(scores, "serve-dense", "TPOT MAPE %, simulated"), 10);
  EXPECT_LE(value(scores, "serve-moe", "TPOT MAPE %, closed form"), 20);
  EXPECT_LE(value(scores, "serve-moe", "TPOT MAPE %, simulated"), 20);
  EXPECT_LE(value(scores, "serve-ttft", "TTFT median error %, simulated"), 30);
  EXPECT_LE(value(scores, "serve-mlperf", "median error %"), 15);
  EXPECT_LE(value(scores, "serve-mlperf", "largest median of an accelerator and round %"), 15);
  for (const SetScore& s : scores) EXPECT_LE(s.unpredicted, 5) << s.set;
}

TEST_F(ShippedRows, TeachNothingAboutTheirOwnDeployment) {
  std::vector<ServingRow> falsified = rows();
  const auto of_group = [](const ServingRow& r) {
    return r.system.starts_with("vllm") && r.model != nullptr && r.model->name == "llama-3-70b" &&
           r.split.tensor == 4 && r.accelerator_name == "h100_sxm";
  };
  for (ServingRow& row : falsified) {
    if (of_group(row)) row.output_token *= 1.5;
  }
  std::vector<ServingRow> asked;
  for (const ServingRow& row : rows()) {
    if (row.system.starts_with("vllm") && row.set == "serve-dense") asked.push_back(row);
  }
  const auto before = predict_serving(asked, rows()), after = predict_serving(asked, falsified);
  bool others_changed = false;
  int own = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (of_group(asked[i])) {
      EXPECT_EQ(before[i].closed, after[i].closed);
      ++own;
    } else {
      others_changed = others_changed || before[i].closed != after[i].closed;
    }
  }
  EXPECT_EQ(own, 15);
  EXPECT_TRUE(others_changed);
}

TEST_F(ShippedRows, OfAnUnknownStackTakeTheMedianOneAndSaySo) {
  std::vector<ServingRow> asked;
  for (const ServingRow& row : rows()) {
    if (asked.empty() && row.set == "serve-dense" && row.scored) asked.push_back(row);
  }
  ASSERT_EQ(asked.size(), 1U);
  asked[0].system = "SomebodysServer 2";
  asked[0].output_token *= 10;
  const auto predictions = predict_serving(asked, rows());
  EXPECT_TRUE(predictions[0].typical);
  EXPECT_GT(predictions[0].closed, 0);
  EXPECT_FALSE(score_serving(predictions)[0].met);
}

}  // namespace
}  // namespace tw::plan
