// A mixture of experts against its definition, token by token, and what it promises about bits.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/test_op.h"

namespace tw::ops {
namespace {

constexpr std::int64_t kExperts = 7, kWidth = 64, kHidden = 96;

/// The experts of a layer; an expert may have other types than the rest.
struct Layer {
  Weight router;
  std::vector<Weight> gates, ups, downs;
  std::vector<const PackedMatrix*> gate_list, up_list, down_list;
  ExpertWeights weights;

  Layer(const kernels::Table& table, DType type, std::int64_t chosen, bool normed, DType odd)
      : router(table, DType::kF32, kExperts, kWidth, 99) {
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const auto seed = static_cast<unsigned>(10 * e);
      gates.emplace_back(table, type, kHidden, kWidth, seed + 2);
      ups.emplace_back(table, e == 3 ? odd : type, kHidden, kWidth, seed + 3);
      downs.emplace_back(table, type, kWidth, kHidden, seed + 4);
    }
    for (std::int64_t e = 0; e < kExperts; ++e) {
      gate_list.push_back(&gates[e].packed());
      up_list.push_back(&ups[e].packed());
      down_list.push_back(&downs[e].packed());
    }
    weights = {&router.packed(), gate_list, up_list, down_list};
    weights.experts = weights.local = kExperts;
    weights.chosen = chosen;
    weights.normed = normed;
  }

  std::vector<double> of_expert(std::int64_t e, const std::vector<float>& x) const {
    const std::vector<double> gate = gates[e].times(x), up = ups[e].times(x);
    std::vector<float> hidden;
    for (std::size_t i = 0; i < gate.size(); ++i)
      hidden.push_back(static_cast<float>(gate[i] / (1 + std::exp(-gate[i])) * up[i]));
    return downs[e].times(hidden);
  }

  /// What a token gets from its experts.
  std::vector<double> of_token(const std::vector<float>& x) const {
    const std::vector<double> logits = router.times(x);
    std::vector<std::int64_t> order(kExperts);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](auto a, auto b) { return std::pair(-logits[a], a) < std::pair(-logits[b], b); });
    double of_chosen = 0, of_all = 0;
    for (std::int64_t i = 0; i < kExperts; ++i) {
      of_all += std::exp(logits[order[i]]);
      if (i < weights.chosen) of_chosen += std::exp(logits[order[i]]);
    }
    std::vector<double> sum(kWidth);
    for (std::int64_t i = 0; i < weights.chosen; ++i) {
      const double weight = std::exp(logits[order[i]]) / (weights.normed ? of_chosen : of_all);
      const std::vector<double> made = of_expert(order[i], x);
      for (std::int64_t c = 0; c < kWidth; ++c) sum[c] += weight * made[c];
    }
    return sum;
  }
};

class MoeFfn : public Ops {
 protected:
  /// Of these tokens, the first `generated` of which are generated ones.
  std::vector<float> run_layer(const Layer& layer, std::vector<float> x, std::vector<float> residual,
                               std::int64_t generated, int workers) {
    const Shape shape{std::ssize(x) / kWidth, kWidth};
    std::vector<float> out(x.size());
    return run(workers, [&](Exec& ex) {
      moe_ffn(ex, view(x, shape), layer.weights, generated, view(residual, shape), view(out, shape));
      return view(out, shape);
    });
  }
};

TEST_P(MoeFfn, IsTheSumOfTheLikeliestExperts) {
  constexpr std::int64_t kTokens = 23;
  for (const auto& [type, odd] : {std::pair(DType::kF32, DType::kF32), std::pair(DType::kF16, DType::kF32)}) {
    for (const std::int64_t chosen : {1, 3, 7}) {
      const Layer layer(table_, type, chosen, chosen != 3, odd);
      const std::vector<float> x = normal(kTokens * kWidth, 1), residual = normal(kTokens * kWidth, 5);
      std::vector<double> wanted;
      for (std::int64_t t = 0; t < kTokens; ++t) {
        const std::vector<double> sum = layer.of_token({&x[t * kWidth], &x[t * kWidth] + kWidth});
        for (std::int64_t c = 0; c < kWidth; ++c) wanted.push_back(sum[c] + residual[t * kWidth + c]);
      }
      for (const std::int64_t generated : {std::int64_t{0}, std::int64_t{4}, kTokens}) {
        const std::vector<float> alone = run_layer(layer, x, residual, generated, 1);
        for (std::size_t i = 0; i < wanted.size(); ++i)
          ASSERT_NEAR(alone[i], wanted[i], std::max(2e-2, 100 * tolerance(type))) << i;
        for (const int workers : {2, 3, 16})
          EXPECT_EQ(run_layer(layer, x, residual, generated, workers), alone) << workers << " workers";
      }
    }
  }
}

TEST_P(MoeFfn, ATokensBitsDoNotDependOnTheOthers) {
  constexpr std::int64_t kTokens = 40, kGenerated = 9;
  const Layer layer(table_, DType::kF16, 2, true, DType::kF16);
  const std::vector<float> x = normal(kTokens * kWidth, 1), residual = normal(kTokens * kWidth, 5);
  const std::vector<float> together = run_layer(layer, x, residual, kGenerated, 2);
  const auto row = [](const std::vector<float>& of, std::int64_t t) {
    return std::vector<float>(&of[t * kWidth], &of[t * kWidth] + kWidth);
  };
  for (std::int64_t t = 0; t < kTokens; ++t)
    EXPECT_EQ(run_layer(layer, row(x, t), row(residual, t), t < kGenerated ? 1 : 0, 1), row(together, t))
        << t;
}

TEST_P(MoeFfn, OfEqualsTheFirstAreTaken) {
  Layer layer(table_, DType::kF32, 2, true, DType::kF32);
  const std::vector<float> zero(kWidth), x = normal(kWidth, 1);
  std::vector<float> equal(kExperts * kWidth);
  const Weight router(table_, DType::kF32, equal, kExperts, kWidth);
  layer.weights.router = &router.packed();
  const std::vector<double> first = layer.of_expert(0, x), second = layer.of_expert(1, x);
  const std::vector<float> got = run_layer(layer, x, zero, 1, 2);
  for (std::int64_t c = 0; c < kWidth; ++c)
    EXPECT_NEAR(got[c], (first[c] + second[c]) / 2, std::max(2e-2, 100 * tolerance(DType::kF32)));
}

/// A sick layer must not read outside of its experts.
TEST_P(MoeFfn, NotANumberIsHandedOn) {
  const Layer layer(table_, DType::kF32, 3, true, DType::kF32);
  std::vector<float> x = normal(2 * kWidth, 1);
  x[5] = NAN;
  const std::vector<float> got = run_layer(layer, x, std::vector<float>(2 * kWidth), 0, 2);
  EXPECT_TRUE(std::isnan(got[0]));
  EXPECT_TRUE(std::isfinite(got[kWidth]));
}

INSTANTIATE_TEST_SUITE_P(Sets, MoeFfn,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
