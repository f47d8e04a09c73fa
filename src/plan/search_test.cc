#include "plan/search.h"

#include <gtest/gtest.h>

namespace tw::plan {
namespace {

Setting setting(const char* model, const char* accelerator, std::int64_t count, std::int64_t batch,
                std::int64_t sequence) {
  spec::TrainJob job;
  job.batch = batch, job.sequence = sequence, job.tokens = {1e12, true};
  spec::ClusterSpec cluster;
  cluster.accelerator = accelerator, cluster.accelerators = count;
  auto made = make_setting(*find_model(model), job, cluster);
  EXPECT_TRUE(made.ok());
  return *made;
}

/// What replicas can share: ZeRO 0 to 3, 3 in groups that fill domains of 8, and what lives in known hosts.
std::vector<spec::ParallelPlan> sharings(const Setting& s, spec::ParallelPlan p) {
  using spec::Offload;
  std::vector<spec::ParallelPlan> result;
  const auto add = [&](int zero, int shard, Offload offload) {
    p.zero = zero, p.shard = shard, p.offload = offload;
    if (p.validate(s.model.config, s.cluster.accelerators, s.job.batch).ok()) result.push_back(p);
  };
  for (int zero = 0; zero < 4; ++zero) add(zero, 0, Offload::kNone);
  for (int shard = 2; shard < p.replicas(); ++shard) {
    if (shard * p.tensor % 8 == 0) add(3, shard, Offload::kNone);
  }
  if (!s.host_memory().ok()) return result;
  add(2, 0, Offload::kOptimizer), add(3, 0, Offload::kOptimizer), add(3, 0, Offload::kParameters);
  return result;
}

/// Every plan that validates, one by one, by what `plan estimate` computes.
std::vector<FoundPlan> all_plans(const Setting& s, double capacity, bool zero_bubble) {
  std::vector<FoundPlan> result;
  const spec::ModelConfig& model = s.model.config;
  Tracer tracer(model);
  const auto n = static_cast<int>(s.cluster.accelerators);
  const auto batch = static_cast<int>(s.job.batch);
  spec::ParallelPlan p;
  for (p.tensor = 1; p.tensor <= n; ++p.tensor)
    for (p.pipeline = 1; p.pipeline <= n; ++p.pipeline)
      for (p.context = 1; p.context <= n; ++p.context)
        for (p.expert = 1; p.expert <= n; ++p.expert)
          for (p.micro_batch = 1; p.micro_batch <= batch; ++p.micro_batch)
            for (p.interleave = 1; p.interleave <= model.layers; ++p.interleave) {
              const int others = p.tensor * p.pipeline * p.context;
              p.data = std::max(1, n / others);
              p.sequence = p.tensor > 1;
              if (model.layers % (p.pipeline * p.interleave) != 0 && p.interleave > 1) continue;
              if (s.job.sequence % (p.context * p.tensor) != 0) continue;
              if (!p.validate(model, n, batch).ok() || !check_interleave(p, model, batch).ok()) continue;
              for (spec::ParallelPlan q : sharings(s, p))
                for (int r = 0; r < 3; ++r) {
                  q.recompute = static_cast<spec::Recompute>(r);
                  for (q.zero_bubble = false;; q.zero_bubble = true) {
                    const auto basis = step_basis(tracer, s.training, q, s.accelerator, s.stack.stack);
                    if (!basis.ok()) break;
                    const auto trace = tracer.get(plan_sharding(q), {q.micro_batch, s.training.sequence, 0});
                    const MemoryBasis held = memory_basis(model, **trace, s.training, q, s.stack.stack);
                    const StageMemory most = most_memory(held, q, basis->micro_batches);
                    const double bytes = most.total();
                    if (q.offload == spec::Offload::kNone || most.host() <= s.host_memory()->value)
                      result.push_back({q, step_seconds(*basis, s.stack.constants), bytes});
                    if (q.zero_bubble || !zero_bubble || q.pipeline == 1 || q.interleave > 1) break;
                  }
                }
            }
  std::erase_if(result, [&](const FoundPlan& f) { return f.bytes > capacity; });
  return result;
}

void expect_finds_the_best(const Setting& s, bool zero_bubble = false) {
  base::Team team(2);
  SearchOptions options;
  options.zero_bubble = zero_bubble;
  const auto found = search(s, options, team);
  ASSERT_TRUE(found.ok()) << found.error().text();
  const std::vector<FoundPlan> all = all_plans(s, s.memory()->value, zero_bubble);
  EXPECT_EQ(found->fit, static_cast<double>(all.size()));
  ASSERT_FALSE(found->best.empty());
  double best = all[0].seconds, least = all[0].bytes;
  for (const FoundPlan& f : all) best = std::min(best, f.seconds), least = std::min(least, f.bytes);
  EXPECT_DOUBLE_EQ(found->best[0].seconds, best);
  EXPECT_NEAR(found->front.back().bytes / least, 1, 1e-12);
  // None of all is faster and leaner than a plan of the front.
  for (const FoundPlan& f : all) {
    bool covered = false;
    for (const FoundPlan& g : found->front)
      covered = covered || (g.seconds <= f.seconds && g.bytes <= f.bytes);
    EXPECT_TRUE(covered) << f.plan.text();
  }
  for (std::size_t i = 0; i < found->best.size(); i += 10) {
    const auto e = estimate(s, found->best[i].plan);
    ASSERT_TRUE(e.ok()) << found->best[i].plan.text() << ": " << e.error().text();
    EXPECT_NEAR(e->closed_seconds / found->best[i].seconds, 1, 1e-12);
    EXPECT_NEAR(e->stages[e->fullest].total() / found->best[i].bytes, 1, 1e-12);
  }
}

TEST(PlanSearch, FindsWhatTryingEachPlanFinds) {
  expect_finds_the_best(setting("llama-2-7b", "H100", 16, 32, 4096));
}

TEST(PlanSearch, FindsWhatTryingEachPlanFillsBubbles) {
  const Setting s = setting("llama-2-7b", "H100", 16, 16, 4096);
  expect_finds_the_best(s, true);
  // Bounds lose none of the best.
  base::Team team(1);
  SearchOptions plain, bounded;
  plain.zero_bubble = bounded.zero_bubble = true;
  bounded.bounds_from = 0;
  const auto all = search(s, plain, team), skipping = search(s, bounded, team), without = search(s, {}, team);
  ASSERT_TRUE(all.ok() && skipping.ok() && without.ok());
  EXPECT_GT(all->space, without->space);
  ASSERT_EQ(all->best.size(), skipping->best.size());
  for (std::size_t i = 0; i < all->best.size(); ++i)
    EXPECT_EQ(all->best[i].plan.text(), skipping->best[i].plan.text());
  EXPECT_GT(all->fit, without->fit);
  for (const FoundPlan& f : without->best) EXPECT_FALSE(f.plan.zero_bubble);
}

TEST(PlanSearch, FindsWhatTryingEachPlanOfAMixtureFinds) {
  expect_finds_the_best(setting("mixtral-8x7b", "H100", 16, 16, 4096));
}

TEST(PlanSearch, FindsWhatTryingEachPlanOffloads) {
  Setting s = setting("llama-2-7b", "H100", 8, 16, 4096);
  const auto host = [&](Field field, double value) { s.accelerator.values[static_cast<int>(field)] = value; };
  host(Field::kHostMemory, 32), host(Field::kHostBandwidth, 50);
  host(Field::kMemory, 32);
  expect_finds_the_best(s);
  base::Team team(1);
  SearchOptions bounded;
  bounded.bounds_from = 0;
  const auto plain = search(s, {}, team), skipping = search(s, bounded, team);
  ASSERT_TRUE(plain.ok() && skipping.ok());
  int offloading = 0;
  ASSERT_EQ(plain->front.size(), skipping->front.size());
  for (std::size_t i = 0; i < plain->front.size(); ++i) {
    EXPECT_EQ(plain->front[i].plan.text(), skipping->front[i].plan.text());
    offloading += plain->front[i].plan.offload != spec::Offload::kNone ? 1 : 0;
  }
  EXPECT_GT(offloading, 0);
}

TEST(PlanSearch, BoundsLoseNothingAndTeamsAgree) {
  const Setting s = setting("llama-3-70b", "A100", 256, 256, 8192);
  base::Team one(1), two(2);
  SearchOptions bounded;
  bounded.bounds_from = 0;
  const auto plain = search(s, {}, one), same = search(s, {}, two), skipping = search(s, bounded, two);
  ASSERT_TRUE(plain.ok() && same.ok() && skipping.ok());
  EXPECT_EQ(plain->skipped, 0);
  EXPECT_EQ(plain->computed, plain->space);
  EXPECT_GT(skipping->skipped, 0.15 * skipping->space);
  EXPECT_EQ(skipping->skipped + skipping->computed, skipping->space);
  for (const auto& other : {same, skipping}) {
    ASSERT_EQ(other->best.size(), plain->best.size());
    for (std::size_t i = 0; i < plain->best.size(); ++i) {
      EXPECT_EQ(other->best[i].plan.text(), plain->best[i].plan.text());
      EXPECT_EQ(other->best[i].seconds, plain->best[i].seconds);
    }
    ASSERT_EQ(other->front.size(), plain->front.size());
    for (std::size_t i = 0; i < plain->front.size(); ++i)
      EXPECT_EQ(other->front[i].bytes, plain->front[i].bytes);
  }
}

TEST(PlanSearch, WhatCannotFitIsToldByItsFastest) {
  base::Team team(1);
  const auto found = search(setting("gpt-1t", "A100", 8, 8, 2048), {}, team);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->best.empty());
  ASSERT_TRUE(found->fastest_unfit);
  EXPECT_GT(found->fastest_unfit->bytes, 80e9);
  SearchOptions bounded;
  bounded.bounds_from = 0;
  const auto skipping = search(setting("gpt-1t", "A100", 8, 8, 2048), bounded, team);
  ASSERT_TRUE(skipping.ok());
  EXPECT_EQ(skipping->skipped, skipping->space);
  ASSERT_TRUE(skipping->fastest_unfit);
  EXPECT_GT(skipping->fastest_unfit->bytes, 80e9);
  EXPECT_GE(skipping->fastest_unfit->seconds, found->fastest_unfit->seconds);
  EXPECT_FALSE(search(setting("gpt-1t", "A100", 7, 7, 2047), {}, team)->best.size() > 0);
}

}  // namespace
}  // namespace tw::plan
