// The sampler against a plain implementation in double precision: first the exact set of tokens that each
// filter leaves, then the frequencies of many draws.
#include "infer/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace tw::infer {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Distribution = std::map<std::int32_t, double>;

void normalize(Distribution& p) {
  double total = 0;
  for (const auto& [token, q] : p) total += q;
  for (auto& [token, q] : p) q /= total;
}

/// Keeps the first tokens by (key, id) until their probability reaches `share`.
void keep_share(Distribution& p, double share, const std::map<std::int32_t, double>& key) {
  std::vector<std::pair<double, std::int32_t>> order;
  for (const auto& [token, q] : p) order.emplace_back(key.at(token), token);
  std::ranges::sort(order);
  Distribution kept;
  double reached = 0;
  for (const auto& [k, token] : order) {
    if (!kept.empty() && reached >= share - 1e-9) break;
    kept[token] = p.at(token);
    reached += p.at(token);
  }
  p = kept;
  normalize(p);
}

Distribution reference(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<std::pair<double, std::int32_t>> order;
  for (std::size_t i = 0; i < logits.size(); ++i)
    order.emplace_back(-logits[i], static_cast<std::int32_t>(i));
  std::ranges::sort(order);
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(params.top_k)));
  Distribution p;
  for (const auto& [negative, token] : order) {
    p[token] = std::exp((order[0].first - negative) / static_cast<double>(params.temperature));
  }
  normalize(p);
  std::map<std::int32_t, double> key;
  for (const auto& [token, q] : p) key[token] = -q;
  if (params.top_p < 1) keep_share(p, params.top_p, key);
  double largest = 0, entropy = 0;
  for (const auto& [token, q] : p) largest = std::max(largest, q);
  std::erase_if(
      p, [&](const auto& entry) { return entry.second < static_cast<double>(params.min_p) * largest; });
  normalize(p);
  for (const auto& [token, q] : p) entropy -= q * std::log(q);
  for (const auto& [token, q] : p) key[token] = std::abs(-std::log(q) - entropy);
  if (params.typical_p < 1) keep_share(p, params.typical_p, key);
  return p;
}

SampleOutput sample_once(std::vector<float> logits, const SamplingParams& params, std::uint64_t position = 0,
                         const TokenCounts* counts = nullptr, std::span<const std::uint32_t> allowed = {},
                         int top_logprobs = -1) {
  SamplerWorkspace workspace;
  return sample({logits, &params, counts, allowed, position, top_logprobs}, workspace);
}

std::vector<float> random_logits(std::size_t size, std::uint32_t seed, float spread = 2) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(size);
  for (float& x : logits) x = normal(random);
  return logits;
}

/// Pearson's statistic of `draws` draws; tokens expected less than 8 times are counted together.
void expect_distribution(const std::vector<float>& logits, const SamplingParams& params, int draws) {
  const Distribution want = reference(logits, params);
  std::map<std::int32_t, int> seen;
  SamplerWorkspace workspace;
  std::vector<float> row;
  for (int i = 0; i < draws; ++i) {
    row = logits;
    ++seen[sample({row, &params, nullptr, {}, static_cast<std::uint64_t>(i), -1}, workspace).token];
  }
  for (const auto& [token, count] : seen)
    ASSERT_TRUE(want.contains(token)) << "token " << token << " was filtered";
  double chi = 0, rest = 0;
  int cells = 0, rest_seen = 0;
  for (const auto& [token, p] : want) {
    const double expected = p * draws;
    if (expected < 8) {
      rest += expected;
      rest_seen += seen[token];
      continue;
    }
    ++cells;
    chi += (seen[token] - expected) * (seen[token] - expected) / expected;
  }
  if (rest > 0) chi += (rest_seen - rest) * (rest_seen - rest) / std::max(rest, 1.0);
  // Five standard deviations above the mean of the chi-square distribution; the draws are always the same
  // ones.
  const double degrees = std::max(1, cells);
  EXPECT_LT(chi, degrees + 5 * std::sqrt(2 * degrees) + 5) << "cells " << cells;
}

std::vector<SamplingParams> filters() {
  return {
      {},
      {.temperature = 0.5F},
      {.temperature = 3.0F},
      {.top_k = 1},
      {.top_k = 5},
      {.top_k = 1000},
      {.top_p = 0.5F},
      {.top_p = 0.95F},
      {.min_p = 0.1F},
      {.typical_p = 0.3F},
      {.typical_p = 0.9F},
      {.temperature = 0.8F, .top_k = 20, .top_p = 0.9F, .min_p = 0.02F, .typical_p = 0.95F},
      {.temperature = 1.5F, .top_p = 0.9F, .min_p = 0.05F},
  };
}

TEST(Sampler, DrawsFollowTheExactDistribution) {
  for (const SamplingParams& params : filters()) {
    for (const std::size_t size : {2U, 40U, 300U}) {
      SCOPED_TRACE(::testing::Message()
                   << "T " << params.temperature << " k " << params.top_k << " p " << params.top_p << " min "
                   << params.min_p << " typical " << params.typical_p << " V " << size);
      expect_distribution(random_logits(size, static_cast<std::uint32_t>(size)), params, 10000);
    }
  }
}

/// All tokens that come up in many draws.
std::set<std::int32_t> support(const std::vector<float>& logits, const SamplingParams& params, int draws) {
  std::set<std::int32_t> seen;
  for (int i = 0; i < draws; ++i)
    seen.insert(sample_once(logits, params, static_cast<std::uint64_t>(i)).token);
  return seen;
}

TEST(Sampler, FiltersKeepExactlyTheirTokensAtLargeVocabularies) {
  // More candidates than are sorted at once, so that the buckets are used.
  for (std::uint32_t seed = 1; seed <= 4; ++seed) {
    const std::vector<float> logits = random_logits(5000, seed, 1);
    for (const SamplingParams& params : filters()) {
      const Distribution want = reference(logits, params);
      SamplerWorkspace workspace;
      for (std::uint64_t i = 0; i < 150; ++i) {
        std::vector<float> row = logits;
        const std::int32_t token = sample({row, &params, nullptr, {}, i, -1}, workspace).token;
        ASSERT_TRUE(want.contains(token)) << "top_p " << params.top_p << " typical " << params.typical_p;
      }
    }
  }
}

TEST(Sampler, EqualLogitsAreCutByIdAtTheExactPlace) {
  std::vector<float> logits(4096, 1.5F);
  const auto highest = [&](const SamplingParams& params) {
    const std::set<std::int32_t> seen = support(logits, params, 300);
    EXPECT_EQ(*seen.rbegin() + 1, std::ssize(seen)) << "an id is missing";
    return std::ssize(seen);
  };
  EXPECT_EQ(highest({.top_k = 3}), 3);
  EXPECT_EQ(highest({.top_p = 0x1p-9F}), 8);
  EXPECT_EQ(highest({.typical_p = 0x1p-9F}), 8);
  logits.resize(4);
  EXPECT_EQ(highest({.top_p = 0.5F}), 2);
  EXPECT_EQ(highest({.top_p = 0.51F}), 3);
  EXPECT_EQ(highest({.min_p = 1}), 4);
}

TEST(Sampler, EdgeValuesOfTheFilters) {
  const std::vector<float> logits = {0.1F, 3, 2.5F, -1, 3};
  EXPECT_EQ(support(logits, {.top_p = 0}, 50), (std::set<std::int32_t>{1}));
  EXPECT_EQ(support(logits, {.top_p = -1}, 50), (std::set<std::int32_t>{1}));
  EXPECT_EQ(support(logits, {.min_p = 1}, 50), (std::set<std::int32_t>{1, 4}));
  EXPECT_EQ(support(logits, {.min_p = 5}, 50), (std::set<std::int32_t>{1, 4}));
  EXPECT_EQ(support(logits, {.top_k = 1}, 50), (std::set<std::int32_t>{1}));
  EXPECT_EQ(support(logits, {.top_k = 2}, 50), (std::set<std::int32_t>{1, 4}));
  EXPECT_EQ(support(logits, {.top_k = -7}, 2000).size(), 5U);
  EXPECT_EQ(support(logits, {.top_k = INT32_MAX}, 2000).size(), 5U);
  EXPECT_EQ(support(logits, {.typical_p = 0}, 50).size(), 1U);
  EXPECT_EQ(support(logits, {.temperature = kInf}, 100).size(), 5U) << "uniform";
  EXPECT_EQ(support(logits, {.temperature = 1e-4F}, 50), (std::set<std::int32_t>{1, 4}));
  EXPECT_EQ(support(logits, {.temperature = kNan}, 50), (std::set<std::int32_t>{1}));
  EXPECT_EQ(support({7}, {}, 5), (std::set<std::int32_t>{0}));
}

TEST(Sampler, TemperatureZeroTakesTheLargestAndOfEqualOnesTheFirst) {
  const SamplingParams greedy{.temperature = 0, .top_k = 3, .typical_p = 0.1F};
  EXPECT_EQ(sample_once({1, 5, 2, 5}, greedy).token, 1);
  SamplingParams changed = greedy;
  changed.logit_bias = {{2, 10.0F}, {-1, 99.0F}, {4, 99.0F}};
  EXPECT_EQ(sample_once({1, 5, 2, 5}, changed).token, 2);
  const std::uint32_t mask[] = {0b1001};
  EXPECT_EQ(sample_once({1, 5, 2, 5}, greedy, 0, nullptr, mask).token, 3);
}

TEST(Sampler, NumbersThatAreNotNumbersDoNoHarm) {
  const SamplingParams greedy{.temperature = 0};
  EXPECT_EQ(sample_once({kNan, 1, kNan, 2}, greedy).token, 3);
  EXPECT_EQ(sample_once({-kInf, -kInf, -3}, greedy).token, 2);
  EXPECT_EQ(sample_once({5, kInf, 9, kInf}, greedy).token, 1);
  for (const SamplingParams& params : filters()) {
    EXPECT_EQ(sample_once({kNan, -kInf, 4, kNan}, params).token, 2);
    EXPECT_EQ(sample_once({1, kInf, 3}, params).token, 1);
    EXPECT_EQ(sample_once({kNan, -kInf, kNan}, params).token, 0);
  }
  EXPECT_EQ(support({kInf, 3, kInf}, {}, 50), (std::set<std::int32_t>{0, 2}));
  SamplingParams wild{.repetition_penalty = 0, .presence_penalty = kInf, .frequency_penalty = kNan};
  wild.logit_bias = {{1, kNan}, {2, -kInf}, {3, kInf}};
  TokenCounts counts;
  counts.add_answer(0);
  EXPECT_EQ(sample_once({1, 2, 3, 4}, wild, 0, &counts).token, 3);
}

TEST(Sampler, TheMaskIsObeyed) {
  const std::vector<float> logits = random_logits(100, 3);
  std::vector<std::uint32_t> mask(4, 0);
  const std::set<std::int32_t> some = {0, 31, 32, 70, 99};
  for (const std::int32_t token : some) mask[static_cast<std::size_t>(token) / 32] |= 1U << (token % 32);
  std::set<std::int32_t> seen;
  for (std::uint64_t i = 0; i < 500; ++i) {
    seen.insert(sample_once(logits, {.temperature = 5}, i, nullptr, mask).token);
  }
  EXPECT_EQ(seen, some);
  mask.resize(2);
  for (std::uint64_t i = 0; i < 50; ++i)
    EXPECT_LT(sample_once(logits, {.temperature = 5}, i, nullptr, mask).token, 64);
}

TEST(Sampler, NothingAllowedIsSaid) {
  const std::uint32_t none[] = {0, ~0U};
  const SampleOutput output = sample_once({1, 2, 3}, {}, 0, nullptr, none, 1);
  EXPECT_TRUE(output.dead_end);
  EXPECT_EQ(output.token, 0);
  EXPECT_TRUE(sample_once({}, {}).dead_end);
  const std::uint32_t last[] = {0b100};
  const SampleOutput hopeless = sample_once({1, 2, -kInf}, {}, 0, nullptr, last, 0);
  EXPECT_FALSE(hopeless.dead_end);
  EXPECT_EQ(hopeless.token, 2) << "the only one that the mask allows";
  EXPECT_EQ(hopeless.logprob, -kInf);
}

TEST(Sampler, PenaltiesFollowTheFormulas) {
  // Worked out by hand. Repetition 1.25 over 0, 1, 2, 3; then 0.5 x count + 0.25 for the answer's tokens 2
  // (twice) and 3:
  //   0: 2 / 1.25 = 1.6    1: -1 x 1.25 = -1.25    2: 3 / 1.25 - 1.25 = 1.15    3: -0.4 x 1.25 - 0.75 = -1.25
  //   4: 1
  const SamplingParams params{
      .repetition_penalty = 1.25F, .presence_penalty = 0.25F, .frequency_penalty = 0.5F};
  TokenCounts counts;
  for (const std::int32_t token : {0, 1, 2, 0}) counts.add_prompt(token);
  for (const std::int32_t token : {2, 3, 2}) counts.add_answer(token);
  counts.add_prompt(77);
  counts.add_answer(-1);
  std::vector<float> logits = {2, -1, 3, -0.4F, 1};
  SamplerWorkspace workspace;
  sample({logits, &params, &counts, {}, 0, -1}, workspace);
  const std::vector<float> want = {1.6F, -1.25F, 1.15F, -1.25F, 1};
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(logits[i], want[i], 1e-6) << i;
}

TEST(Sampler, BiasComesBeforePenalties) {
  SamplingParams params{.repetition_penalty = 2};
  params.logit_bias = {{0, 3}, {0, 1}};
  TokenCounts counts;
  counts.add_answer(0);
  std::vector<float> logits = {-2, 0};
  SamplerWorkspace workspace;
  sample({logits, &params, &counts, {}, 0, -1}, workspace);
  EXPECT_FLOAT_EQ(logits[0], 1) << "(-2 + 3 + 1) / 2";
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  SamplingParams params{.temperature = 0.3F, .top_k = 1, .repetition_penalty = 3};
  params.logit_bias = {{3, 50.0F}};
  TokenCounts counts;
  counts.add_answer(3);
  const std::vector<float> logits = {1, 2, 2, 0, -kInf, kNan};
  const SampleOutput output = sample_once(logits, params, 0, &counts, {}, 3);
  EXPECT_EQ(output.token, 3);
  const double log_sum = std::log(std::exp(1) + 2 * std::exp(2) + 1);
  EXPECT_NEAR(output.logprob, -log_sum, 1e-6);
  ASSERT_EQ(output.top.size(), 3U);
  EXPECT_THAT(output.top, ElementsAre(Pair(1, testing::FloatNear(static_cast<float>(2 - log_sum), 1e-6F)),
                                      Pair(2, testing::_), Pair(0, testing::_)));
  EXPECT_EQ(sample_once(logits, params, 0, &counts, {}, 100).top.size(), 6U);
  EXPECT_TRUE(sample_once(logits, params, 0, &counts, {}, 0).top.empty());
}

TEST(Sampler, ScoresGivenTokens) {
  SamplerWorkspace workspace;
  const std::vector<float> logits = random_logits(3000, 9);
  double total = 0;
  for (std::int32_t token = 0; token < 3000; ++token) {
    total += std::exp(static_cast<double>(score_token(logits, token, -1, workspace).logprob));
  }
  EXPECT_NEAR(total, 1, 1e-5);
  const SampleOutput best = score_token(logits, 17, 2, workspace);
  EXPECT_EQ(best.token, 17);
  EXPECT_EQ(best.top[0].first, std::ranges::max_element(logits) - logits.begin());
  EXPECT_GT(best.top[0].second, best.top[1].second);
  EXPECT_EQ(score_token(std::vector<float>{-kInf, -kInf}, 1, 1, workspace).logprob, -kInf);
}

TEST(Sampler, TheSameSeedAndPositionGiveTheSameToken) {
  const std::vector<float> logits = random_logits(500, 5);
  SamplerWorkspace used;
  std::vector<std::int32_t> first, again, other;
  for (std::uint64_t i = 0; i < 64; ++i) first.push_back(sample_once(logits, {.seed = 1}, i).token);
  for (std::uint64_t i = 64; i-- > 0;) {
    std::vector<float> row = logits;
    const SamplingParams params{.seed = 1};
    again.insert(again.begin(), sample({row, &params, nullptr, {}, i, 4}, used).token);
    other.push_back(sample_once(logits, {.seed = 2}, i).token);
  }
  EXPECT_EQ(first, again) << "in any order, with a used workspace, with or without logprobs";
  EXPECT_NE(first, other);
}

TEST(Sampler, WeightsEqualTheExponentialFunction) {
  std::vector<float> values;
  for (float x = 0; x > -95; x -= 0.01037F) values.push_back(x);
  std::vector<float> weights(values.size());
  relative_weights(values, 0, 1, weights);
  EXPECT_EQ(weights[0], 1.0F);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double want = std::exp(static_cast<double>(values[i]));
    if (values[i] < -87) {
      EXPECT_EQ(weights[i], 0);
    } else {
      ASSERT_NEAR(weights[i] / want, 1, 2e-7) << values[i];
    }
  }
}

TEST(Sampler, SelectsTheKthLargest) {
  SelectWorkspace workspace;
  for (const bool shuffled : {true, false}) {
    std::vector<float> values = random_logits(1000, 8);
    for (std::size_t i = 0; i < 300; ++i) values[i * 3] = values[i];
    if (!shuffled) std::ranges::sort(values);
    std::vector<float> sorted = values;
    std::ranges::sort(sorted, std::greater<>());
    for (std::size_t k = 1; k <= values.size(); ++k)
      ASSERT_EQ(kth_largest(values, k, workspace).value, sorted[k - 1]) << k;
  }
}

}  // namespace
}  // namespace tw::infer
