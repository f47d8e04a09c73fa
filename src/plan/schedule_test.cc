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

TEST(PlanSchedule, TheClosedFormIsWithinHalfAPercentOfTheSimulatedStep) {
  spec::TrainJob job;
  job.batch = 1536, job.sequence = 2048, job.tokens = {300e9, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "A100", cluster.accelerators = 512;
  const auto s = make_setting(*find_model("gpt3-175b"), job, cluster);
  ASSERT_TRUE(s.ok());
  Tracer tracer(s->model.config);
  int tried = 0;
  for (const int stages : {1, 2, 4, 8, 16}) {
    for (const int pieces : {1, 2, 3, 6}) {
      for (const int micro : {1, 2}) {
        spec::ParallelPlan plan;
        plan.tensor = 8, plan.pipeline = stages, plan.data = 64 / stages, plan.interleave = pieces;
        plan.micro_batch = micro, plan.sequence = true, plan.recompute = spec::Recompute::kSelective;
        if (!check_interleave(plan, s->model.config, job.batch).ok()) continue;
        const auto basis = step_basis(tracer, s->training, plan, s->accelerator, s->stack.stack);
        ASSERT_TRUE(basis.ok());
        const double closed = step_seconds(*basis, s->stack.constants);
        const auto simulated = simulated_step(*basis, s->stack.constants);
        ASSERT_TRUE(simulated.ok());
        EXPECT_NEAR(closed / *simulated, 1, 0.005) << plan.text();
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 25);
}

TEST(PlanSchedule, WhereLayersDoNotDivideTheClosedFormIsUpToThreePercentAbove) {
  // examples/plan/405b: 126 layers in 16 stages, of which the last has 7 and the head.
  spec::TrainJob job;
  job.batch = 2048, job.sequence = 8192, job.tokens = {15.6e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100", cluster.accelerators = 16384;
  const auto s = make_setting(*find_model("llama-3-405b"), job, cluster);
  ASSERT_TRUE(s.ok());
  Tracer tracer(s->model.config);
  for (const int stages : {4, 8, 16}) {
    spec::ParallelPlan plan;
    plan.tensor = 8, plan.pipeline = stages, plan.data = 2048 / stages, plan.sequence = true, plan.zero = 2;
    const auto basis = step_basis(tracer, s->training, plan, s->accelerator, s->stack.stack);
    ASSERT_TRUE(basis.ok());
    const auto simulated = simulated_step(*basis, s->stack.constants);
    ASSERT_TRUE(simulated.ok());
    const double ratio = step_seconds(*basis, s->stack.constants) / *simulated;
    EXPECT_GT(ratio, 0.995) << stages;
    EXPECT_LT(ratio, 1.035) << stages;
  }
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
