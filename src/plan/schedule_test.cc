#include "plan/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "plan/search.h"

namespace tw::plan {
namespace {

Pipeline even(int stages, StageSeconds each, double send = 0) {
  Pipeline p;
  p.stages.assign(stages, each);
  p.send = send;
  return p;
}

TEST(PlanSchedule, EveryStageDoesEverythingOnceAndNothingLocks) {
  for (const auto kind :
       {ScheduleKind::kOneForwardOneBackward, ScheduleKind::kInterleaved, ScheduleKind::kZeroBubble}) {
    for (const int stages : {1, 2, 3, 4, 8}) {
      for (const int pieces : {1, 2, 5}) {
        for (const int rounds : {1, 2, 5}) {
          const bool interleaved = kind == ScheduleKind::kInterleaved;
          if (!interleaved && pieces > 1) continue;
          const int m = interleaved ? rounds * stages : rounds + 2;
          const Schedule schedule = make_schedule(kind, stages, pieces, m);
          const auto run = simulate(schedule, pieces, even(stages, {1, 1, 1}, 0.1));
          ASSERT_TRUE(run.ok()) << run.error().text();
          for (int s = 0; s < stages; ++s) {
            std::set<std::pair<int, int>> forward, backward;
            for (const Action& a : schedule[s]) {
              if (a.act == Act::kForward) {
                EXPECT_TRUE(forward.insert({a.micro_batch, a.piece}).second);
              }
              if (a.act == Act::kBackward || a.act == Act::kBackwardWeight) {
                EXPECT_TRUE(backward.insert({a.micro_batch, a.piece}).second);
                EXPECT_TRUE(forward.count({a.micro_batch, a.piece}));
              }
            }
            EXPECT_EQ(forward.size(), static_cast<std::size_t>(m * pieces));
            EXPECT_EQ(backward, forward);
            EXPECT_NEAR(run->computing[s], 3.0 * m * pieces, 1e-9);
          }
        }
      }
    }
  }
}

TEST(PlanSchedule, ADeadlockIsNamed) {
  Schedule schedule = make_schedule(ScheduleKind::kOneForwardOneBackward, 2, 1, 2);
  // The first stage wants a gradient before it has sent what it is the gradient of.
  std::rotate(schedule[0].begin(), schedule[0].begin() + 4, schedule[0].end());
  const auto run = simulate(schedule, 1, even(2, {1, 1, 1}));
  ASSERT_FALSE(run.ok());
  EXPECT_NE(run.error().message.find("deadlock: stage 0 waits for the gradient of micro-batch 0"),
            std::string::npos)
      << run.error().message;
}

TEST(PlanSchedule, BubblesAreThePublishedOnes) {
  const double f = 1, b = 1.2, w = 0.8;
  const int p = 8, m = 32;
  const auto seconds = [&](ScheduleKind kind, int pieces) {
    const double part = pieces;
    return simulate(make_schedule(kind, p, pieces, m), pieces, even(p, {f / part, b / part, w / part}))
        ->seconds;
  };
  // arXiv 2104.04473: (p - 1) (f + b), and by v less; arXiv 2401.10241: ZB-H1 (p - 1) (f + b - w).
  EXPECT_NEAR(seconds(ScheduleKind::kOneForwardOneBackward, 1), (m + p - 1) * (f + b + w), 1e-9);
  EXPECT_NEAR(seconds(ScheduleKind::kInterleaved, 4), (m + (p - 1) / 4.0) * (f + b + w), 1e-9);
  const double zero = seconds(ScheduleKind::kZeroBubble, 1);
  EXPECT_NEAR(zero, m * (f + b + w) + (p - 1) * (f + b - w), 0.005 * zero);
}

Setting setting_of(const char* model, const char* accelerator, std::int64_t count, std::int64_t batch,
                   std::int64_t sequence) {
  spec::TrainJob job;
  job.batch = batch, job.sequence = sequence, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = accelerator, cluster.accelerators = count;
  auto made = make_setting(*find_model(model), job, cluster);
  EXPECT_TRUE(made.ok());
  return *made;
}

/// Closed form over simulated schedule.
double ratio_of(const Setting& s, Tracer& tracer, const spec::ParallelPlan& plan) {
  const auto basis = step_basis(tracer, s.training, plan, s.accelerator, s.stack.stack);
  EXPECT_TRUE(basis.ok()) << plan.text();
  const auto simulated = simulated_step(*basis, s.stack.constants);
  EXPECT_TRUE(simulated.ok()) << plan.text();
  return step_seconds(*basis, s.stack.constants) / *simulated;
}

TEST(PlanSchedule, TheClosedFormIsTheSimulatedScheduleOfUnevenStages) {
  // Llama 3's 126 layers; heads from nothing to four layers; links from nothing to a tenth of a layer.
  for (const double head : {0.0, 0.3, 1.0, 4.0}) {
    for (const double send : {0.0, 0.1}) {
      for (const double backward : {1.5, 2.0, 3.0}) {
        for (const int stages : {2, 3, 4, 7, 16, 50, 63, 100, 126}) {
          for (const int m : {1, 2, stages - 1, stages, stages + 1, 3 * stages, 20 * stages}) {
            StepBasis b;
            b.layers = 126, b.pipeline = stages, b.micro_batches = m;
            b.dense.count = 126;
            b.dense.forward.matmul = 1, b.dense.backward.matmul = backward;
            b.head.matmul = head * (1 + backward), b.send_inside = send;
            const Constants constants = {1, 1, 1, 0, 0, 0};
            const auto simulated = simulated_step(b, constants);
            ASSERT_TRUE(simulated.ok());
            EXPECT_NEAR(step_seconds(b, constants) / *simulated, 1, 1e-9)
                << stages << " stages, " << m << " micro-batches, head " << head << ", send " << send
                << ", backward " << backward;
          }
        }
      }
    }
  }
}

TEST(PlanSchedule, TheClosedFormIsWithinHalfAPercentOfTheSimulatedStep) {
  const Setting s = setting_of("gpt3-175b", "A100", 512, 1536, 2048);
  Tracer tracer(s.model.config);
  int tried = 0;
  for (const int stages : {1, 2, 4, 8, 16}) {
    for (const int pieces : {1, 2, 3, 6}) {
      for (const int micro : {1, 2}) {
        spec::ParallelPlan plan;
        plan.tensor = 8, plan.pipeline = stages, plan.data = 64 / stages, plan.interleave = pieces;
        plan.micro_batch = micro, plan.sequence = true, plan.recompute = spec::Recompute::kSelective;
        if (!check_interleave(plan, s.model.config, s.job.batch).ok()) continue;
        EXPECT_NEAR(ratio_of(s, tracer, plan), 1, 0.005) << plan.text();
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 25);
}

TEST(PlanSchedule, WhatASearchFindsBestIsWithinHalfAPercentOfItsSimulatedStep) {
  for (const Setting& s :
       {setting_of("llama-3-405b", "H100", 2048, 2048, 8192), setting_of("llama-3-8b", "H100", 64, 256, 8192),
        setting_of("deepseek-v3", "H800 SXM", 2048, 15360, 4096)}) {
    base::Team team(1);
    const auto found = search(s, {}, team);
    ASSERT_TRUE(found.ok());
    Tracer tracer(s.model.config);
    for (const FoundPlan& f : found->best)
      EXPECT_NEAR(ratio_of(s, tracer, f.plan), 1, 0.005) << s.model.name << ": " << f.plan.text();
    for (std::size_t i = 0; i < found->front.size(); i += 1 + found->front.size() / 100)
      EXPECT_NEAR(ratio_of(s, tracer, found->front[i].plan), 1, 0.005)
          << s.model.name << ": " << found->front[i].plan.text();
  }
}

TEST(PlanSchedule, TheHeadIsTheLastStagesInEveryMicroBatch) {
  StepBasis b;
  b.layers = 8, b.pipeline = 4, b.micro_batches = 40;
  b.dense.count = 8, b.dense.forward.matmul = 1, b.dense.backward.matmul = 2;
  const Constants constants = {1, 1, 1, 0, 0, 0};
  const double without = step_seconds(b, constants);
  b.head.matmul = 0.5;
  const double with = step_seconds(b, constants);
  EXPECT_NEAR(with - without, 40 * 0.5, 0.001);  // sends take 20 us
  EXPECT_NEAR(*simulated_step(b, constants), with, 1e-9);
}

TEST(PlanSchedule, ZeroBubbleOfAPlanIsTheSimulatedOne) {
  const Setting s = setting_of("llama-3-70b", "H100", 256, 512, 8192);
  Tracer tracer(s.model.config);
  spec::ParallelPlan plan;
  plan.tensor = 4, plan.pipeline = 8, plan.data = 8, plan.sequence = true, plan.zero = 1;
  const auto seconds = [&] {
    const auto basis = step_basis(tracer, s.training, plan, s.accelerator, s.stack.stack);
    EXPECT_TRUE(basis.ok());
    return *simulated_step(*basis, s.stack.constants);
  };
  const double one = seconds();
  plan.zero_bubble = true;
  EXPECT_LT(seconds(), one);
  EXPECT_NEAR(ratio_of(s, tracer, plan), 1, 0.02);
  // Its memory is what `estimate` counts.
  const auto e = estimate(s, plan);
  ASSERT_TRUE(e.ok());
  plan.zero_bubble = false;
  const auto plain = estimate(s, plan);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(e->stages[0].activations, plain->stages[0].activations);
  EXPECT_GT(e->stages[7].activations, 4 * plain->stages[7].activations);
}

TEST(PlanSchedule, WhatASearchOfZeroBubblesFindsIsWithinHalfAPercentOfItsSimulatedStep) {
  const Setting s = setting_of("llama-3-405b", "H100", 2048, 2048, 8192);
  base::Team team(1);
  SearchOptions options;
  options.zero_bubble = true;
  const auto found = search(s, options, team);
  ASSERT_TRUE(found.ok());
  Tracer tracer(s.model.config);
  int filled = 0;
  for (const FoundPlan& f : found->best) {
    EXPECT_NEAR(ratio_of(s, tracer, f.plan), 1, 0.005) << f.plan.text();
    filled += f.plan.zero_bubble ? 1 : 0;
  }
  EXPECT_GT(filled, 0);
}

TEST(PlanSchedule, SpansAreWhatIsComputed) {
  const Pipeline pipeline{{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, {}, 0};
  for (const auto& [kind, pieces] :
       {std::pair(ScheduleKind::kOneForwardOneBackward, 1), std::pair(ScheduleKind::kInterleaved, 2)}) {
    std::vector<ScheduleSpan> spans;
    const auto done = simulate(make_schedule(kind, 4, pieces, 8), pieces, pipeline, &spans);
    ASSERT_TRUE(done.ok());
    ASSERT_EQ(spans.size(), 4U * 8 * 2 * pieces);
    double last = 0, sum[4] = {0, 0, 0, 0}, until[4] = {0, 0, 0, 0};
    for (const ScheduleSpan& span : spans) {
      EXPECT_GE(span.start, until[span.stage]);  // a stage does one thing at a time
      until[span.stage] = span.end;
      sum[span.stage] += span.end - span.start;
      last = std::max(last, span.end);
    }
    EXPECT_DOUBLE_EQ(last, done->seconds);
    for (int stage = 0; stage < 4; ++stage) EXPECT_DOUBLE_EQ(sum[stage], done->computing[stage]);
  }
}

}  // namespace
}  // namespace tw::plan
