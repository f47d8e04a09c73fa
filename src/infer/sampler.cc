#include "infer/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/philox.h"
#include "infer/token_filters.h"

namespace tw::infer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kGreedyBelow = 1e-5F;

/// NaN becomes -infinity, +infinity the largest finite number.
float tamed(float x) {
  return x <= kLargest ? x : (x > 0 ? kLargest : -kInfinity);
}

void tame(std::span<float> logits) {
  if (all_below_infinity(logits)) return;
  for (float& x : logits) x = tamed(x);
}

/// log of the sum of exp over the row; -infinity when every logit is.
double log_sum_exp(std::span<const float> logits, SamplerWorkspace& workspace) {
  const float max = max_value(logits);
  if (max == -kInfinity) return -kInfinity;
  workspace.weights.resize(logits.size());
  relative_weights(logits, max, 1.0F, workspace.weights);
  return static_cast<double>(max) + std::log(sum(workspace.weights));
}

float log_probability(float logit, double log_sum) {
  return logit == -kInfinity ? -kInfinity : static_cast<float>(static_cast<double>(logit) - log_sum);
}

void find_top(std::span<const float> logits, int count, double log_sum, SamplerWorkspace& workspace,
              std::vector<std::pair<std::int32_t, float>>& top) {
  const std::size_t k = std::min(static_cast<std::size_t>(std::max(count, 0)), logits.size());
  if (k == 0) return;
  const Cut cut = kth_largest(logits, k, workspace.select);
  for_each_at_least(logits, cut.value, [&](std::size_t i) {
    top.emplace_back(static_cast<std::int32_t>(i), logits[i]);
    return true;
  });
  std::ranges::sort(top, [](const auto& a, const auto& b) {
    return a.second > b.second || (a.second == b.second && a.first < b.first);
  });
  top.resize(k);
  for (auto& [token, value] : top) value = log_probability(value, log_sum);
}

/// Sets one logit and remembers the model's own value of it.
void change(std::span<float> logits, std::int32_t token, float value, SamplerWorkspace& workspace) {
  float& logit = logits[static_cast<std::size_t>(token)];
  workspace.originals.emplace_back(token, logit);
  logit = tamed(value);
}

float original(std::span<const float> logits, std::int32_t token, const SamplerWorkspace& workspace) {
  const auto first = std::ranges::find(workspace.originals, token, &std::pair<std::int32_t, float>::first);
  return first != workspace.originals.end() ? first->second : logits[static_cast<std::size_t>(token)];
}

void add_bias(const SampleInput& input, SamplerWorkspace& workspace) {
  for (const auto& [token, bias] : input.params->logit_bias) {
    if (token < 0 || static_cast<std::size_t>(token) >= input.logits.size()) continue;
    change(input.logits, token, input.logits[static_cast<std::size_t>(token)] + bias, workspace);
  }
}

void subtract_penalties(const SampleInput& input, SamplerWorkspace& workspace) {
  const SamplingParams& params = *input.params;
  const bool any =
      params.repetition_penalty != 1 || params.presence_penalty != 0 || params.frequency_penalty != 0;
  if (!any || input.counts == nullptr) return;
  for (const TokenCounts::Entry& entry : input.counts->entries()) {
    if (entry.token < 0 || static_cast<std::size_t>(entry.token) >= input.logits.size()) continue;
    if (entry.in_answer == 0 && params.repetition_penalty == 1) continue;
    float logit = input.logits[static_cast<std::size_t>(entry.token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (entry.in_answer > 0) {
      logit -= params.frequency_penalty * static_cast<float>(entry.in_answer) + params.presence_penalty;
    }
    change(input.logits, entry.token, logit, workspace);
  }
}

/// Returns the lowest allowed token, or -1.
std::int32_t apply_mask(std::span<float> logits, std::span<const std::uint32_t> allowed) {
  if (allowed.empty()) return logits.empty() ? -1 : 0;
  std::int32_t lowest = -1;
  for (std::size_t first = 0; first < logits.size(); first += 32) {
    const std::span<float> group = logits.subspan(first, std::min<std::size_t>(32, logits.size() - first));
    std::uint32_t bits = first / 32 < allowed.size() ? allowed[first / 32] : 0;
    if (group.size() < 32) bits &= (1U << group.size()) - 1;
    if (bits == 0) {
      std::ranges::fill(group, -kInfinity);
      continue;
    }
    if (lowest < 0) lowest = static_cast<std::int32_t>(first) + std::countr_zero(bits);
    if (bits == ~0U) continue;
    for (std::size_t i = 0; i < group.size(); ++i) {
      if ((bits >> i & 1U) == 0) group[i] = -kInfinity;
    }
  }
  return lowest;
}

/// Steps 5 to 10. REQUIRES: max is the largest logit, and finite.
std::int32_t choose(const SampleInput& input, float max, SamplerWorkspace& workspace) {
  const SamplingParams& params = *input.params;
  if (!(params.temperature >= kGreedyBelow)) {
    std::int32_t best = 0;
    for_each_at_least(input.logits, max, [&](std::size_t i) {
      best = static_cast<std::int32_t>(i);
      return false;
    });
    return best;
  }
  FilterState state{input.logits, max, 1.0F / params.temperature, workspace.candidates, workspace.select};
  keep_top_k(state, params.top_k);
  keep_top_p(state, params.top_p);
  keep_min_p(state, params.min_p);
  keep_typical_p(state, params.typical_p);
  return draw(workspace.candidates, base::uniform(params.seed, input.position));
}

}  // namespace

SampleOutput sample(const SampleInput& input, SamplerWorkspace& workspace) {
  SampleOutput output;
  const bool wants_logprobs = input.top_logprobs >= 0;
  workspace.originals.clear();
  tame(input.logits);
  double log_sum = 0;
  if (wants_logprobs) {
    log_sum = log_sum_exp(input.logits, workspace);
    find_top(input.logits, input.top_logprobs, log_sum, workspace, output.top);
  }
  add_bias(input, workspace);
  subtract_penalties(input, workspace);
  const std::int32_t lowest = apply_mask(input.logits, input.allowed);
  if (lowest < 0) {
    output.dead_end = true;
    return output;
  }
  const float max = max_value(input.logits);
  output.token = max > -kInfinity ? choose(input, max, workspace) : lowest;
  if (wants_logprobs)
    output.logprob = log_probability(original(input.logits, output.token, workspace), log_sum);
  return output;
}

SampleOutput score_token(std::span<const float> logits, std::int32_t token, int top_logprobs,
                         SamplerWorkspace& workspace) {
  TW_CHECK(token >= 0 && static_cast<std::size_t>(token) < logits.size(),
           "a token of the vocabulary is scored");
  std::vector<float>& row = workspace.row;
  row.assign(logits.begin(), logits.end());
  tame(row);
  SampleOutput output;
  output.token = token;
  const double log_sum = log_sum_exp(row, workspace);
  output.logprob = log_probability(row[static_cast<std::size_t>(token)], log_sum);
  find_top(row, top_logprobs, log_sum, workspace, output.top);
  return output;
}

}  // namespace tw::infer
