#include "plan/serve_plan.h"

#include <gtest/gtest.h>

#include "plan/serve_details.h"

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

TEST(PlanServing, ATokensTimeIsTheSumOfItsParts) {
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100 SXM", cluster.accelerators = 8;
  for (const char* model : {"llama-3-8b", "mixtral-8x7b"}) {
    const auto setting = make_serve_setting(*find_model(model), job_of(1024, 256), cluster);
    ASSERT_TRUE(setting.ok());
    const auto answer = plan_serving(*setting);
    ASSERT_TRUE(answer.ok()) << answer.error().text();
    const auto parts = token_parts(*setting, answer->best);
    ASSERT_TRUE(parts.ok());
    double sum = 0;
    for (const auto& [name, seconds] : *parts) {
      EXPECT_GE(seconds, 0) << name;
      sum += seconds;
    }
    EXPECT_NEAR(sum / answer->best.output_token, 1, 1e-9) << model;
    const auto hang = serve_sensitivity(*setting, answer->best);
    ASSERT_TRUE(hang.ok());
    ASSERT_FALSE(hang->empty());
    const double middle = answer->best.tokens_per_second;
    for (const ServeSensitivity& s : *hang) {
      // Slower products are fewer tokens.
      if (s.input.starts_with("time of")) {
        EXPECT_GT(s.lower, middle) << s.input;
        EXPECT_LT(s.higher, middle) << s.input;
      }
    }
  }
}

TEST(PlanServing, LongerRequestsAreToldAsAPlanForThemIs) {
  spec::ServeJob job = job_of(1024, 256);
  job.tp = 8;
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100 SXM", cluster.accelerators = 8;
  const auto plan = [&](const spec::ServeJob& wanted) {
    const auto answer = plan_serving(*make_serve_setting(*find_model("llama-3-70b"), wanted, cluster));
    EXPECT_TRUE(answer.ok());
    return *answer;
  };
  const auto hang =
      serve_sensitivity(*make_serve_setting(*find_model("llama-3-70b"), job, cluster), plan(job).best);
  ASSERT_TRUE(hang.ok());
  int rows = 0;
  for (const ServeSensitivity& s : *hang) {
    if (!s.input.starts_with("tokens of")) continue;
    ++rows;
    spec::ServeJob less = job, more = job;
    (s.input == "tokens of a request" ? less.input : less.output) =
        s.input == "tokens of a request" ? 819 : 205;
    (s.input == "tokens of a request" ? more.input : more.output) =
        s.input == "tokens of a request" ? 1229 : 307;
    EXPECT_NEAR(s.lower / plan(less).best.tokens_per_second, 1, 0.01) << s.input;
    EXPECT_NEAR(s.higher / plan(more).best.tokens_per_second, 1, 0.01) << s.input;
    EXPECT_LT(plan(more).best.batch, plan(job).best.batch);
  }
  EXPECT_EQ(rows, 2);
}

TEST(PlanServing, NumbersThatAreGivenChangeWhatWasMeasured) {
  spec::ServeJob job = job_of(1024, 256);
  job.tp = 8, job.batch = 64;
  const auto seconds = [&](const auto& change) {
    spec::ClusterSpec cluster;
    cluster.accelerator = "H100 SXM", cluster.accelerators = 8;
    change(cluster);
    const auto answer = plan_serving(*make_serve_setting(*find_model("llama-3-70b"), job, cluster));
    EXPECT_TRUE(answer.ok());
    return answer->best.output_token;
  };
  const double plain = seconds([](auto&) {});
  // What the catalogue says changes nothing.
  EXPECT_DOUBLE_EQ(seconds([](auto& c) { c.scale_up_bandwidth = {450e9, true}; }), plain);
  EXPECT_DOUBLE_EQ(seconds([](auto& c) { c.memory_bandwidth = {3.35e12, true}; }), plain);
  EXPECT_GT(seconds([](auto& c) { c.scale_up_bandwidth = {45e9, true}; }), 1.1 * plain);
  EXPECT_LT(seconds([](auto& c) { c.scale_up_bandwidth = {4500e9, true}; }), 0.999 * plain);
  EXPECT_LT(seconds([](auto& c) { c.memory_bandwidth = {6.7e12, true}; }), 0.9 * plain);
  EXPECT_GT(seconds([](auto& c) { c.peak = {200e12, true}; }), 1.05 * plain);
}

TEST(PlanServing, NoneOfTheFrontIsBeaten) {
  const auto answer = serve("llama-3-8b", 8, job_of(1024, 256));
  ASSERT_TRUE(answer.ok());
  std::vector<ServeOption> all = answer->others;
  all.push_back(answer->best);
  ASSERT_GT(answer->front.size(), 2u);
  for (const ServeOption& f : answer->front) {
    for (const ServeOption& o : all)
      EXPECT_FALSE(o.tokens_per_second > f.tokens_per_second * (1 + 1e-12) && o.output_token < f.output_token)
          << f.text() << " is beaten by " << o.text();
  }
  // What serves most is on it, for no target was given.
  EXPECT_DOUBLE_EQ(answer->front.back().tokens_per_second, answer->best.tokens_per_second);
  for (std::size_t i = 1; i < answer->front.size(); ++i) {
    EXPECT_GT(answer->front[i].tokens_per_second, answer->front[i - 1].tokens_per_second);
    EXPECT_GE(answer->front[i].output_token, answer->front[i - 1].output_token);
  }
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

TEST(PlanServing, TheLongestRequestTakesWholeBlocks) {
  // 439,593 + 1,000 tokens have room as tokens on one H100, but not as blocks of 16.
  spec::ServeJob job = job_of(439593, 1000);
  job.shortest = 1;
  EXPECT_FALSE(serve("llama-3-8b", 1, job).ok());
  bool some = false;
  for (std::int64_t input = 439592; !some && input > 439593 - 64; --input) {
    job.input = input;
    some = serve("llama-3-8b", 1, job).ok();
  }
  EXPECT_TRUE(some);
}

TEST(PlanServing, NothingIsFasterThanATargetOfNoTime) {
  spec::ServeJob job = job_of(1024, 256);
  job.tpot = {0, true};
  EXPECT_FALSE(serve("llama-3-8b", 1, job).ok());
  job.tpot = {}, job.ttft = {0, true};
  EXPECT_FALSE(serve("llama-3-8b", 1, job).ok());
}

TEST(PlanServing, OneRequestAtATimeKeepsOneReplicaBusy) {
  spec::ServeJob job = job_of(1024, 1024);
  job.concurrency = 1;
  const auto eight = serve("llama-3-8b", 8, job);
  ASSERT_TRUE(eight.ok());
  const double alone = 0.9 * 1024 / eight->best.request;
  EXPECT_NEAR(eight->best.tokens_per_second, alone, 1e-6);
  EXPECT_NEAR(figure(*eight, "simulated_tokens_per_second"), alone, 0.1 * alone);
  // So that sharing the layers serves more than copies that wait.
  EXPECT_GT(eight->best.split.tensor, 1);
}

TEST(PlanServing, WhatDoesNotRunWaits) {
  spec::ServeJob job = job_of(1024, 256);
  job.concurrency = 500, job.batch = 5;
  const auto queue = serve("llama-3-8b", 8, job);
  ASSERT_TRUE(queue.ok()) << queue.error().text();
  EXPECT_EQ(queue->best.batch, 5);
  const double groups = queue->best.groups;
  // Little's law: who waits, over what is served.
  const double wait = (500 - 5 * groups) / queue->best.requests_per_second;
  EXPECT_GT(wait, 1);
  EXPECT_NEAR(queue->best.first_token, wait, 0.1 * wait);
  EXPECT_NEAR(figure(*queue, "simulated_ttft_seconds"), wait, 0.15 * wait);
  job.batch = 60000;
  EXPECT_NE(serve("llama-3-8b", 8, job).error().message.find("is the most"), std::string::npos);
  job.batch = 100, job.concurrency = 10;
  const auto conflict = serve("llama-3-8b", 8, job);
  ASSERT_FALSE(conflict.ok());
  EXPECT_NE(conflict.error().message.find("more than the concurrency"), std::string::npos)
      << conflict.error().message;
}

TEST(PlanServing, TheSimulationFillsItsBatch) {
  spec::ServeJob job = job_of(1024, 2048);
  job.batch = 200, job.tp = 1;
  const auto answer = serve("llama-3-8b", 1, job);
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_NEAR(figure(*answer, "simulated_tokens_per_second") / answer->best.tokens_per_second, 1, 0.1);
  EXPECT_LT(figure(*answer, "simulated_ttft_seconds"), 3 * answer->best.first_token);
}

TEST(PlanServing, WithARateRequestsRunWhenTheyCome) {
  spec::ServeJob job = job_of(1024, 256);
  job.rate = 20, job.ttft = {0.5, true};
  const auto answer = serve("llama-3-8b", 4, job);
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_GT(answer->best.batch, 3 * answer->best.running);
  EXPECT_LE(figure(*answer, "simulated_ttft_seconds"), 0.5);
  // Little's law.
  EXPECT_NEAR(answer->best.running * answer->best.groups, 20 * answer->best.request, answer->best.groups);
  for (const ServeOption& other : answer->others) EXPECT_GE(other.request, 0.99 * answer->best.request);
}

TEST(PlanServing, StagesOfUnevenLayersAreAsLargeAsTheLargest) {
  Tracer tracer(find_model("llama-3-405b")->config);
  ServeSplit split;
  split.tensor = 8, split.pipeline = 4;  // 126 layers: 32, 32, 31, 31
  const auto costs = [&](int pipeline) {
    split.pipeline = pipeline;
    return *ServeCosts::make(tracer, split, **Catalogue::shipped().find("H100"), Precision::kBf16, 2);
  };
  const ServeCosts one = costs(1), four = costs(4);
  EXPECT_DOUBLE_EQ(four.cache_bytes(), one.cache_bytes() * 32 / 126);
  EXPECT_GT(four.weight_bytes(), one.weight_bytes() * 32 / 126);
}

TEST(PlanServing, StagesThatMeetOverANicWaitForIt) {
  spec::ServeJob job = job_of(4096, 256);
  job.tp = 8, job.pp = 2, job.batch = 64;
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100", cluster.accelerators = 16;
  const auto tokens = [&](double nic) {
    cluster.nic = {nic, true};
    const auto answer = plan_serving(*make_serve_setting(*find_model("llama-3-70b"), job, cluster));
    EXPECT_TRUE(answer.ok());
    return answer->best.tokens_per_second;
  };
  EXPECT_LT(tokens(1e8), 0.9 * tokens(50e9));
  cluster.oversubscription = 4;
  EXPECT_NE(make_serve_setting(*find_model("llama-3-70b"), job, cluster).error().message.find("oversub"),
            std::string::npos);
}

TEST(PlanServing, TheNearestIsWhatWorks) {
  spec::ServeJob job = job_of(1024, 256);
  job.precision = "fp8";
  for (int spec::ServeJob::* size : {&spec::ServeJob::tp, &spec::ServeJob::pp, &spec::ServeJob::ep}) {
    spec::ServeJob odd = job;
    odd.*size = size == &spec::ServeJob::tp ? 3 : size == &spec::ServeJob::pp ? 64 : 8;
    const auto none = serve("llama-3-70b", 8, odd);
    ASSERT_FALSE(none.ok());
    const std::string& text = none.error().message;
    EXPECT_EQ(text.find("does not fit"), std::string::npos) << text;
    const char* wanted = size == &spec::ServeJob::tp   ? "is tp 4"
                         : size == &spec::ServeJob::pp ? "pp 8"
                                                       : "ep 1";
    EXPECT_NE(text.find(wanted), std::string::npos) << text;
  }
  job.ttft = {1e-3, true};
  const auto none = serve("llama-3-70b", 8, job);
  ASSERT_FALSE(none.ok());
  const std::string& text = none.error().message;
  const std::size_t at = text.rfind("ttft ");
  ASSERT_NE(at, std::string::npos) << text;
  job.ttft.value = std::stod(text.substr(at + 5)) * 1e-3;
  EXPECT_TRUE(serve("llama-3-70b", 8, job).ok()) << text;
  job.ttft = {}, job.rate = 1000;
  const auto slow = serve("llama-3-70b", 8, job);
  ASSERT_FALSE(slow.ok());
  const std::size_t rate = slow.error().message.rfind("with ");
  ASSERT_NE(rate, std::string::npos);
  job.rate = std::stod(slow.error().message.substr(rate + 5));
  EXPECT_GT(job.rate, 1);
  EXPECT_TRUE(serve("llama-3-70b", 8, job).ok()) << slow.error().message;
}

TEST(PlanServing, WhatIsTooMuchToSimulateSaysSo) {
  const auto answer = serve("llama-3-8b", 8, job_of(1000, 1000000));
  ASSERT_TRUE(answer.ok());
  EXPECT_FALSE(answer->simulated);
  for (const Figure& f : answer->figures) {
    if (f.key != "simulated_ttft_seconds") continue;
    EXPECT_NE(f.missing.find("not simulated"), std::string::npos) << f.missing;
  }
}

TEST(PlanServing, AStepHasATokenForEachAnswer) {
  spec::ServeJob job = job_of(1024, 256);
  job.step_tokens = 16;
  const auto answer = serve("llama-3-8b", 1, job);
  ASSERT_TRUE(answer.ok());
  EXPECT_LE(answer->best.batch, 16);
}

TEST(PlanServing, ABlankIsAskedForWhereItIsNeededAlone) {
  spec::ServeJob job = job_of(512, 64);
  // Nobody says how fast their links are; copies of the model send nothing over them.
  for (const char* name : {"TPU v4", "H100 NVL", "Ascend 910C", "MTT S4000"}) {
    spec::ClusterSpec cluster;
    cluster.accelerator = name, cluster.accelerators = 4;
    auto setting = make_serve_setting(*find_model("llama-3-8b"), job, cluster);
    ASSERT_TRUE(setting.ok()) << setting.error().text();
    setting->accelerator.values[static_cast<int>(Field::kScaleUpBandwidth)] = {};
    setting->accelerator.values[static_cast<int>(Field::kNic)] = {};
    const auto copies = plan_serving(*setting);
    ASSERT_TRUE(copies.ok()) << copies.error().text();
    EXPECT_EQ(copies->best.split.ranks(), 1) << name;
    EXPECT_NE(copies->not_tried.find("--scale-up-bandwidth"), std::string::npos) << copies->not_tried;
    // Layers that are shared are summed.
    setting->job.tp = 2;
    const auto shared = plan_serving(*setting);
    ASSERT_FALSE(shared.ok()) << name;
    EXPECT_NE(shared.error().message.find("--scale-up-bandwidth"), std::string::npos)
        << shared.error().message;
  }
  // What fits if they are shared alone names the number, not the memory.
  const auto large = serve("llama-3-70b", 16, job, "TPU v4");
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.error().message.find("scaleup_bw_gbs_per_dir"), std::string::npos) << large.error().message;
  const auto never = serve("llama-3-70b", 2, job, "TPU v4");
  ASSERT_FALSE(never.ok());
  EXPECT_NE(never.error().message.find("does not fit"), std::string::npos) << never.error().message;
  EXPECT_NE(never.error().message.find("--scale-up-bandwidth"), std::string::npos) << never.error().message;
  EXPECT_TRUE(serve("llama-3-8b", 8, job, "H100 SXM")->not_tried.empty());
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
  const Served ours = *simulate_scheduler(*costs, kTypicalServing, load, memory, {8192, 0}, 200);
  // Which begins empty: enough requests that its first sixteen, who come together, do not count.
  const Served light = simulate_serving(*costs, stack, kTypicalServing, load, memory, 4000);
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
  const Served free = *simulate_scheduler(*costs, constants, load, memory, {8192, 0}, 80);
  const Served bound = *simulate_scheduler(*costs, constants, load, memory, {8192, 2, 32}, 80);
  EXPECT_LT(bound.output_token, free.output_token);
  EXPECT_GT(bound.first_token, free.first_token);
}

}  // namespace
}  // namespace tw::plan
