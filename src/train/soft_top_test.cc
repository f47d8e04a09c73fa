#include "train/soft_top.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace tw::train {
namespace {

std::vector<float> masked(const std::vector<float>& scores, double k, double temperature) {
  std::vector<float> mask(scores.size());
  soft_top(scores, k, temperature, mask);
  return mask;
}

const std::vector<float> kScores = {0.3F, -1.2F, 2.5F, 0, 0.31F, -0.5F, 1.1F};

TEST(SoftTop, AddsUpToKInTheOrderOfTheScores) {
  for (const double k : {0.5, 3.0, 5.25, 6.9}) {
    for (const double temperature : {2.0, 1.0, 0.05}) {
      const std::vector<float> mask = masked(kScores, k, temperature);
      EXPECT_NEAR(std::accumulate(mask.begin(), mask.end(), 0.0), k, 1e-5) << k << " at " << temperature;
      for (std::size_t i = 0; i < mask.size(); ++i) {
        for (std::size_t j = 0; j < mask.size(); ++j) {
          if (kScores[i] > kScores[j]) {
            EXPECT_GE(mask[i], mask[j]);
          }
        }
      }
    }
  }
  EXPECT_THAT(masked(kScores, 7, 1), testing::Each(1.0F));
  EXPECT_THAT(masked(std::vector<float>(8), 2, 1), testing::Each(testing::FloatNear(0.25F, 1e-6F)));
  const std::vector<float> cold = masked(kScores, 3, 1e-4);
  EXPECT_THAT(cold, testing::Pointwise(testing::FloatNear(1e-4F), std::vector<float>{0, 0, 1, 0, 1, 0, 1}));
}

TEST(SoftTop, GradientsAreThoseOfFiniteDifferences) {
  const std::vector<double> factors = {0.7, -1, 0.2, 3, -0.4, 0.9, 1.5};
  const auto loss = [&](const std::vector<double>& scores, double k, double temperature) {
    // By its definition, in double precision.
    double low = -100, high = 100, sum = 0;
    for (int i = 0; i < 200; ++i) {
      const double t = 0.5 * (low + high);
      sum = 0;
      for (const double s : scores) sum += 1 / (1 + std::exp(-(s + t) / temperature));
      (sum < k ? low : high) = t;
    }
    double total = 0;
    for (std::size_t i = 0; i < scores.size(); ++i)
      total += factors[i] / (1 + std::exp(-(scores[i] + high) / temperature));
    return total;
  };
  for (const double k : {1.5, 4.0}) {
    for (const double temperature : {1.0, 0.3}) {
      std::vector<double> scores(kScores.begin(), kScores.end()), got(scores.size());
      soft_top_gradient(masked(kScores, k, temperature), factors, temperature, got);
      for (std::size_t i = 0; i < scores.size(); ++i) {
        constexpr double kStep = 1e-5;
        const double old = scores[i];
        scores[i] = old + kStep;
        const double above = loss(scores, k, temperature);
        scores[i] = old - kStep;
        EXPECT_NEAR(got[i], (above - loss(scores, k, temperature)) / (2 * kStep), 2e-5) << i;
        scores[i] = old;
      }
    }
  }
}

}  // namespace
}  // namespace tw::train
