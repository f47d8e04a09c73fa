#include "infer/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "infer/philox.h"

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
  for (float& x : logits) {
    if (!(x <= kLargest)) x = tamed(x);
  }
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
  const float cut = kth_largest(logits, k, workspace.select);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= cut) top.emplace_back(static_cast<std::int32_t>(i), logits[i]);
  }
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

/// Fills the candidates with the tokens above `cut`, and with as many at `cut` as `ties` says, lowest ids
/// first.
void collect(std::span<const float> logits, float cut, std::size_t ties, Candidates& candidates) {
  candidates.tokens.resize(logits.size());
  candidates.values.resize(logits.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float value = logits[i];
    if (value < cut) continue;
    if (value == cut) {
      if (ties == 0) continue;
      --ties;
    }
    candidates.tokens[count] = static_cast<std::int32_t>(i);
    candidates.values[count++] = value;
  }
  candidates.tokens.resize(count);
  candidates.values.resize(count);
}

/// Top-k, and whatever is certain to be dropped by min-p or by the size of a float.
void collect_candidates(const SampleInput& input, float max, SamplerWorkspace& workspace) {
  const SamplingParams& params = *input.params;
  const std::size_t k = static_cast<std::size_t>(std::max(params.top_k, 0));
  if (k > 0 && k < input.logits.size()) {
    const float cut = kth_largest(input.logits, k, workspace.select);
    const auto above = std::ranges::count_if(input.logits, [cut](float x) { return x > cut; });
    // With a cut at -infinity fewer than k tokens can be drawn at all.
    const bool all = cut == -kInfinity;
    return collect(input.logits, all ? -kLargest : cut, all ? k : k - static_cast<std::size_t>(above),
                   workspace.candidates);
  }
  // Probability below e^-88 of the largest; or below half of min_p of it, when nothing but min-p looks at the
  // tail.
  double range = 88;
  if (params.min_p > 0 && !(params.top_p < 1))
    range = std::min(range, 0.7 - std::log(std::min(static_cast<double>(params.min_p), 1.0)));
  const double cut = static_cast<double>(max) - range * static_cast<double>(params.temperature);
  collect(input.logits, static_cast<float>(std::max(cut, -static_cast<double>(kLargest))),
          input.logits.size(), workspace.candidates);
}

void keep_top_p(float top_p, SamplerWorkspace& workspace) {
  if (!(top_p < 1)) return;
  const std::vector<float>& weights = workspace.candidates.weights;
  std::vector<std::uint32_t>& keys = workspace.select.keys;
  keys.resize(weights.size());
  // Floats that are not negative are ordered as their bits are.
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = std::bit_cast<std::uint32_t>(1.0F) - std::bit_cast<std::uint32_t>(weights[i]);
  }
  keep_by_mass(workspace.candidates, std::max(static_cast<double>(top_p), 0.0), workspace.select);
}

void keep_min_p(float min_p, Candidates& candidates) {
  if (!(min_p > 0)) return;
  const float least = std::min(min_p, 1.0F);
  candidates.filter([&](std::size_t i) { return candidates.weights[i] >= least; });
}

void keep_typical(float typical_p, SamplerWorkspace& workspace) {
  if (!(typical_p < 1)) return;
  const std::vector<float>& weights = workspace.candidates.weights;
  const double total = sum(weights);
  // -log p = log total - log w, so that entropy - (-log p) = log w - mean of log w: the constant cancels.
  double mean = 0;
  for (const float w : weights)
    mean += w > 0 ? static_cast<double>(w) / total * std::log(static_cast<double>(w)) : 0;
  std::vector<std::uint32_t>& keys = workspace.select.keys;
  keys.resize(weights.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto distance = static_cast<float>(std::abs(std::log(static_cast<double>(weights[i])) - mean));
    keys[i] = std::bit_cast<std::uint32_t>(distance);
  }
  keep_by_mass(workspace.candidates, std::max(static_cast<double>(typical_p), 0.0), workspace.select);
}

/// The token at which the cumulative weight passes u x the total. Skips whole groups of tokens by their sums.
std::int32_t draw(const Candidates& candidates, double u) {
  constexpr std::size_t kGroup = 256;
  const std::span<const float> weights = candidates.weights;
  const auto group_sum = [&](std::size_t first) {
    return sum(weights.subspan(first, std::min(kGroup, weights.size() - first)));
  };
  double total = 0;
  for (std::size_t first = 0; first < weights.size(); first += kGroup) total += group_sum(first);
  const double target = u * total;
  double reached = 0;
  std::size_t first = 0;
  while (first + kGroup < weights.size()) {
    const double next = reached + group_sum(first);
    if (next > target) break;
    reached = next;
    first += kGroup;
  }
  std::size_t chosen = first;
  for (std::size_t i = first; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    reached += static_cast<double>(weights[i]);
    if (reached > target) break;
  }
  return candidates.tokens[chosen];
}

std::int32_t choose(const SampleInput& input, SamplerWorkspace& workspace) {
  const SamplingParams& params = *input.params;
  const float max = max_value(input.logits);
  if (!(params.temperature >= kGreedyBelow)) {
    return static_cast<std::int32_t>(std::ranges::find(input.logits, max) - input.logits.begin());
  }
  collect_candidates(input, max, workspace);
  Candidates& candidates = workspace.candidates;
  candidates.weights.resize(candidates.size());
  relative_weights(candidates.values, max, 1.0F / params.temperature, candidates.weights);
  keep_top_p(params.top_p, workspace);
  keep_min_p(params.min_p, candidates);
  keep_typical(params.typical_p, workspace);
  return draw(candidates, uniform(params.seed, input.position));
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
  const bool any = max_value(input.logits) > -kInfinity;
  output.token = any ? choose(input, workspace) : lowest;
  if (wants_logprobs)
    output.logprob = log_probability(original(input.logits, output.token, workspace), log_sum);
  return output;
}

SampleOutput score_token(std::span<const float> logits, std::int32_t token, int top_logprobs,
                         SamplerWorkspace& workspace) {
  TW_CHECK(token >= 0 && static_cast<std::size_t>(token) < logits.size(),
           "a token of the vocabulary is scored");
  std::vector<float>& row = workspace.candidates.values;
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
