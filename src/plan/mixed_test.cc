#include "plan/mixed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "plan/estimate.h"
#include "plan/search.h"

namespace tw::plan {
namespace {

base::Result<Setting> made(const char* model, const char* first, const char* second, std::int64_t each,
                           std::int64_t batch, const std::function<void(spec::ClusterSpec&)>& change = {}) {
  spec::TrainJob job;
  job.batch = batch, job.sequence = 4096, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = first, cluster.accelerators = each;
  cluster.second.accelerator = second, cluster.second.accelerators = each;
  if (change) change(cluster);
  return make_setting(*find_model(model), job, cluster);
}

spec::ParallelPlan plan_of(int data, int tensor, int pipeline) {
  spec::ParallelPlan plan;
  plan.data = data, plan.tensor = tensor, plan.pipeline = pipeline, plan.sequence = tensor > 1;
  plan.zero = 1, plan.recompute = spec::Recompute::kSelective;
  return plan;
}

std::optional<Quantity> figure(const Estimate& e, std::string_view key) {
  for (const Figure& f : e.figures) {
    if (f.key == key) return f.value;
  }
  return {};
}

TEST(PlanMixed, TwoHalvesOfOneKindAreThatKind) {
  const auto halves = made("llama-2-7b", "H100", "H100", 8, 64);
  ASSERT_TRUE(halves.ok()) << halves.error().text();
  Setting whole = halves->of_kind(0);
  whole.cluster.accelerators = 16;
  for (const int data : {1, 2, 4}) {
    const auto mixed = estimate(*halves, plan_of(data, 8 / data, 2));
    const auto plain = estimate(whole, plan_of(data, 8 / data, 2));
    ASSERT_TRUE(mixed.ok() && plain.ok());
    EXPECT_NEAR(mixed->closed_seconds / plain->closed_seconds, 1, 0.005);
    EXPECT_NEAR(mixed->step_seconds / plain->step_seconds, 1, 0.005);
    EXPECT_NEAR(figure(*mixed, "megawatts")->value / figure(*plain, "megawatts")->value, 1, 0.01);
    EXPECT_NEAR(figure(*mixed, "mfu")->value / figure(*plain, "mfu")->value, 1, 0.005);
    for (int stage = 0; stage < 2; ++stage) {
      EXPECT_EQ(mixed->placed[stage].layers, 16);
      EXPECT_DOUBLE_EQ(mixed->stages[stage].total(), plain->stages[stage].total());
    }
  }
}

/// Seconds of the slowest stage when layers are dealt so, from what the stages of an estimate take.
double slowest(const Estimate& e, double head, const std::vector<int>& layers) {
  double most = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const PlacedStage& s = e.placed[i];
    const double own = i + 1 == layers.size() ? head : 0;
    most = std::max(most, (s.forward + s.backward - own) / s.layers * layers[i] + own + s.send);
  }
  return most;
}

TEST(PlanMixed, NoOtherDealOfLayersHasAFasterSlowestStage) {
  const auto s =
      made("gpt2-124m", "A100", "H100", 8, 64, [](auto& c) { c.nic = c.second.nic = {50e9, true}; });
  ASSERT_TRUE(s.ok());
  const spec::ParallelPlan plan = plan_of(4, 1, 4);
  const auto e = estimate(*s, plan);
  ASSERT_TRUE(e.ok()) << e.error().text();
  MixedPlanner planner(*s);
  const auto step = planner.step(plan);
  ASSERT_TRUE(step.ok());
  const auto layers = static_cast<int>(s->model.config.layers);
  double best = INFINITY;
  for (int a = 1; a < layers; ++a)
    for (int b = 1; a + b < layers; ++b)
      for (int c = 1; a + b + c < layers; ++c)
        best = std::min(best, slowest(*e, step->head, {a, b, c, layers - a - b - c}));
  EXPECT_NEAR(step->slowest().seconds() / best, 1, 1e-8);
}

TEST(PlanMixed, LayersFollowSpeedAndMemory) {
  const auto fast = made("llama-2-13b", "A100", "H100", 8, 64);
  ASSERT_TRUE(fast.ok());
  const auto by_speed = estimate(*fast, plan_of(1, 8, 2));
  ASSERT_TRUE(by_speed.ok()) << by_speed.error().text();
  const auto of = [](const Estimate& e, std::size_t kind) {
    int layers = 0;
    for (const PlacedStage& s : e.placed) layers += s.kind == kind ? s.layers : 0;
    return layers;
  };
  EXPECT_GT(of(*by_speed, 1), 1.4 * of(*by_speed, 0));
  EXPECT_EQ(of(*by_speed, 0) + of(*by_speed, 1), 40);
  EXPECT_TRUE(by_speed->fits());
  // Faster ones with room for half: the slow ones hold more, and the step is longer.
  const auto narrow =
      made("llama-2-13b", "A100", "H100", 8, 64, [](auto& c) { c.second.memory = {20e9, true}; });
  const auto by_memory = estimate(*narrow, plan_of(1, 8, 2));
  ASSERT_TRUE(by_memory.ok());
  EXPECT_TRUE(by_memory->fits()) << by_memory->memory_text();
  EXPECT_LT(of(*by_memory, 1), of(*by_speed, 1));
  EXPECT_GT(by_memory->step_seconds, by_speed->step_seconds);
  for (const PlacedStage& s : by_memory->placed) EXPECT_LE(s.memory.total(), s.kind == 1 ? 20e9 : 86e9);
  // Room for nothing is told with its stage and kind.
  const auto none =
      made("llama-2-13b", "A100", "H100", 8, 64, [](auto& c) { c.second.memory = {4e9, true}; });
  const auto unfit = estimate(*none, plan_of(1, 8, 2));
  ASSERT_TRUE(unfit.ok());
  EXPECT_FALSE(unfit->fits());
  EXPECT_NE(unfit->memory_text().find("on the second kind"), std::string::npos) << unfit->memory_text();
}

TEST(PlanMixed, TheSimulatedScheduleAgrees) {
  const auto s = made("llama-2-13b", "A100", "H100", 16, 128);
  ASSERT_TRUE(s.ok());
  for (const auto& plan : {plan_of(2, 8, 2), plan_of(1, 8, 4), plan_of(2, 4, 4), plan_of(1, 4, 8)}) {
    const auto e = estimate(*s, plan);
    ASSERT_TRUE(e.ok()) << e.error().text();
    EXPECT_NEAR(e->closed_seconds / e->step_seconds, 1, 0.02) << plan.text();
    EXPECT_NEAR(e->step.total(), e->step_seconds, 1e-9 * e->step_seconds);
    // It is between the same stages all on one kind and all on the other.
    const auto both = [&](std::size_t kind) {
      Setting one = s->of_kind(kind);
      one.cluster.accelerators = 32;
      return estimate(one, plan)->step_seconds;
    };
    EXPECT_LT(e->step_seconds, both(0));
    EXPECT_GT(e->step_seconds, both(1));
  }
}

TEST(PlanMixed, WhatIsNoPipelineGetsTheNearestThatWorks) {
  const auto s = made("llama-2-13b", "A100", "H100", 8, 64);
  ASSERT_TRUE(s.ok());
  for (const auto& plan : {plan_of(2, 8, 1), plan_of(16, 1, 1), plan_of(1, 1, 16), plan_of(2, 2, 4)}) {
    const auto e = estimate(*s, plan);
    if (e.ok()) continue;
    const std::string& text = e.error().message;
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_NE(text.find("nearest plan that works: dp "), std::string::npos) << text;
  }
  const auto flat = estimate(*s, plan_of(2, 8, 1));
  ASSERT_FALSE(flat.ok());
  EXPECT_NE(flat.error().message.find("8 x A100 SXM 80GB and 8 x H100 SXM need a pipeline"),
            std::string::npos)
      << flat.error().message;
  EXPECT_NE(flat.error().message.find("dp 1 tp 8 pp 2"), std::string::npos) << flat.error().message;
  EXPECT_TRUE(estimate(*s, plan_of(1, 8, 2))->fits());
  const auto wide = estimate(*s, plan_of(4, 4, 1));
  EXPECT_FALSE(wide.ok());
  spec::ParallelPlan pieces = plan_of(1, 8, 2);
  pieces.interleave = 2;
  EXPECT_NE(estimate(*s, pieces).error().message.find("one piece a stage"), std::string::npos);
  pieces.interleave = 1, pieces.offload = spec::Offload::kOptimizer;
  EXPECT_NE(estimate(*s, pieces)
                .error()
                .message.find("do not offload (optimizer was asked for); the nearest plan that works: "),
            std::string::npos);
  pieces = plan_of(1 << 20, 1 << 20, 1 << 20);
  EXPECT_FALSE(estimate(*s, pieces).ok());
}

TEST(PlanMixed, ClustersThatMakeNoSenseAreRefused) {
  const auto error = [](const std::function<void(spec::ClusterSpec&)>& change) {
    const auto s = made("llama-2-7b", "A100", "H100", 8, 64, change);
    return s.ok() ? std::string() : s.error().text();
  };
  EXPECT_NE(error([](auto& c) { c.second.accelerator = "Z9000"; }).find("Z9000"), std::string::npos);
  EXPECT_NE(error([](auto& c) { c.second.accelerators = 0; }).find("second-accelerators"), std::string::npos);
  EXPECT_NE(
      error([](auto& c) { c.second.accelerator = "", c.second.accelerators = 8; }).find("no second kind"),
      std::string::npos);
  EXPECT_NE(error([](auto& c) { c.network = "torus", c.torus = "2x4"; }).find("one kind"), std::string::npos);
  EXPECT_NE(error([](auto& c) { c.second.accelerator = "this-machine"; }).find("this-machine"),
            std::string::npos);
}

TEST(PlanMixed, PowerAndMoneyAreToldByKind) {
  const auto s = made("llama-2-13b", "A100", "H100", 8, 64,
                      [](auto& c) { c.rent = {1.5, true}, c.second.rent = {2.5, true}; });
  const auto e = estimate(*s, plan_of(1, 8, 2));
  ASSERT_TRUE(e.ok());
  for (const char* key : {"megawatts", "accelerator_hours", "rent_usd"}) {
    const auto all = figure(*e, key), first = figure(*e, std::string(key) + "_first"),
               second = figure(*e, std::string(key) + "_second");
    ASSERT_TRUE(all && first && second) << key;
    EXPECT_NEAR(all->value, first->value + second->value, 1e-9 * all->value) << key;
    EXPECT_GT(second->value, first->value * (std::string(key) == "accelerator_hours" ? 0.999 : 1.1)) << key;
  }
  const auto half = made("llama-2-13b", "A100", "H100", 8, 64, [](auto& c) { c.rent = {1.5, true}; });
  const auto unpriced = estimate(*half, plan_of(1, 8, 2));
  ASSERT_TRUE(unpriced.ok());
  for (const Figure& f : unpriced->figures) {
    if (f.key != "rent_usd") continue;
    EXPECT_FALSE(f.value);
    EXPECT_NE(f.missing.find("--second-rent"), std::string::npos) << f.missing;
  }
}

TEST(PlanMixed, SearchFindsWhatTryingEachPlanFinds) {
  const auto s = made("llama-2-7b", "A100", "H100", 4, 16, [](auto& c) { c.second.memory = {40e9, true}; });
  ASSERT_TRUE(s.ok());
  base::Team team(2);
  const auto found = search(*s, {}, team);
  ASSERT_TRUE(found.ok()) << found.error().text();
  double best = INFINITY, fit = 0, all = 0;
  for (int tensor = 1; tensor <= 4; tensor *= 2)
    for (int context = 1; context <= 4; context *= 2)
      for (int data = 1; data <= 4; data *= 2)
        for (int micro = 1; micro <= 16; micro *= 2)
          for (int zero = 0; zero < 4; ++zero)
            for (int r = 0; r < 3; ++r) {
              spec::ParallelPlan p = plan_of(data, tensor, std::max(1, 8 / (tensor * context * data)));
              p.context = context, p.micro_batch = micro, p.zero = zero;
              p.recompute = static_cast<spec::Recompute>(r);
              if (tensor * context * data > 4 || 16 % (data * micro) != 0) continue;
              const auto e = estimate(*s, p);
              ASSERT_TRUE(e.ok()) << p.text() << e.error().text();
              ++all;
              if (!e->fits()) continue;
              ++fit;
              best = std::min(best, e->closed_seconds);
            }
  EXPECT_EQ(found->computed, all);
  EXPECT_EQ(found->fit, fit);
  ASSERT_GT(fit, 0);
  EXPECT_NEAR(found->best[0].seconds / best, 1, 1e-12);
  base::Team one(1);
  const auto same = search(*s, {}, one);
  ASSERT_EQ(same->best.size(), found->best.size());
  for (std::size_t i = 0; i < same->best.size(); ++i)
    EXPECT_EQ(same->best[i].plan.text(), found->best[i].plan.text());
}

}  // namespace
}  // namespace tw::plan
