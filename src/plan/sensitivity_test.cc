#include "plan/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tw::plan {
namespace {

TEST(Sensitivity, MovesDaysTheRightWay) {
  spec::TrainJob job;
  job.batch = 1024, job.sequence = 4096, job.tokens = {2e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = "H100", cluster.accelerators = 64;
  const auto s = make_setting(*find_model("llama-2-7b"), job, cluster);
  ASSERT_TRUE(s.ok());
  spec::ParallelPlan plan;
  plan.data = 64, plan.zero = 3, plan.micro_batch = 2, plan.recompute = spec::Recompute::kFull;
  const auto rows = sensitivity(*s, plan);
  ASSERT_TRUE(rows.ok()) << rows.error().text();
  ASSERT_GE(rows->size(), 3U);
  const auto of = [&](const std::string& input) {
    for (const Sensitivity& row : *rows) {
      if (row.input == input) return row;
    }
    return Sensitivity{};
  };
  const auto e = estimate(*s, plan);
  ASSERT_TRUE(e.ok());
  double days = 0;
  for (const Figure& f : e->figures) {
    if (f.key == "days") days = f.value->value;
  }
  const Sensitivity peak = of("peak of the accelerator");
  EXPECT_GT(peak.days_lower, days);
  EXPECT_LT(peak.days_higher, days);
  // No faster than if products were all there is.
  EXPECT_LT(peak.days_lower, days / 0.8 + 1e-9);
  const Sensitivity slower = of("time of products against the measured curves");
  EXPECT_LT(slower.days_lower, days);
  EXPECT_GT(slower.days_higher, days);
  const double first = std::abs((*rows)[0].days_higher - (*rows)[0].days_lower);
  for (const Sensitivity& row : *rows) EXPECT_LE(std::abs(row.days_higher - row.days_lower), first + 1e-12);
}

}  // namespace
}  // namespace tw::plan
