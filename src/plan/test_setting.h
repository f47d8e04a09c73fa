// What tests of training plans begin with.
#pragma once

#include <gtest/gtest.h>

#include "plan/setting.h"

namespace tw::plan {

/// A run of 10^12 tokens on `count` accelerators; `change` is told the cluster before it is used.
template <typename Change>
Setting test_setting(const char* model, const char* accelerator, std::int64_t count, std::int64_t batch,
                     std::int64_t sequence, const Change& change) {
  spec::TrainJob job;
  job.batch = batch, job.sequence = sequence, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = accelerator, cluster.accelerators = count;
  change(cluster);
  auto made = make_setting(*find_model(model), job, cluster);
  EXPECT_TRUE(made.ok());
  return *made;
}

inline StepBasis test_basis(const Setting& s, const spec::ParallelPlan& plan) {
  Tracer tracer(s.model.config);
  const auto basis = step_basis(tracer, s.training, plan, s.accelerator, s.stack.stack, s.fabric);
  EXPECT_TRUE(basis.ok());
  return *basis;
}

}  // namespace tw::plan
