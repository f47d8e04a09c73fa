#include "infer/token_filters.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tw::infer {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

/// Keeps candidates of at least this weight. Passes quickly over long runs of lighter ones.
void keep_at_least(Candidates& candidates, float least) {
  auto& [tokens, weights] = candidates;
  const bool all_tokens = tokens.empty();
  tokens.resize(weights.size());
  std::size_t kept = 0;
  for_each_at_least(weights, least, [&](std::size_t i) {
    tokens[kept] = all_tokens ? static_cast<std::int32_t>(i) : tokens[i];
    weights[kept++] = weights[i];
    return true;
  });
  tokens.resize(kept);
  weights.resize(kept);
}

/// Floats that are not negative are in the same order as their bits are.
std::uint32_t ordered_bits(float x) {
  return std::bit_cast<std::uint32_t>(x);
}

}  // namespace

void keep_top_k(FilterState& state, std::int32_t k) {
  auto& [tokens, weights] = state.candidates;
  tokens.clear();
  weights.resize(state.logits.size());
  if (k <= 0 || static_cast<std::size_t>(k) >= state.logits.size()) {
    relative_weights(state.logits, state.max, state.scale, weights);
    return;
  }
  Cut cut = kth_largest(state.logits, static_cast<std::size_t>(k), state.workspace);
  std::vector<float>& values = state.workspace.values;
  values.clear();
  for_each_at_least(state.logits, std::max(cut.value, kLowest), [&](std::size_t i) {
    const float value = state.logits[i];
    if (value == cut.value && cut.ties == 0) return true;
    if (value == cut.value) --cut.ties;
    tokens.push_back(static_cast<std::int32_t>(i));
    values.push_back(value);
    return true;
  });
  weights.resize(tokens.size());
  relative_weights(values, state.max, state.scale, weights);
}

void keep_top_p(FilterState& state, float p) {
  if (!(p < 1)) return;
  Candidates& candidates = state.candidates;
  const double share = std::max(static_cast<double>(p), 0.0);
  const double total = sum(candidates.weights);
  // All tokens below this weight together have less than half of what may be left out, so the cut lies above
  // it.
  const double least = 0.5 * (1 - share) * total / static_cast<double>(candidates.size());
  keep_at_least(candidates, std::min(static_cast<float>(least), 1.0F));
  std::vector<std::uint32_t>& keys = state.workspace.keys;
  keys.resize(candidates.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = ordered_bits(1.0F) - ordered_bits(candidates.weights[i]);
  }
  keep_by_mass(candidates, share * total, state.workspace);
}

void keep_min_p(FilterState& state, float p) {
  if (p > 0) keep_at_least(state.candidates, std::min(p, 1.0F));
}

void keep_typical_p(FilterState& state, float p) {
  if (!(p < 1)) return;
  const Candidates& candidates = state.candidates;
  const double total = sum(candidates.weights);
  // log of the weight, not of the probability: it lacks -log(total), and so does the entropy; their
  // difference does not.
  const auto log_weight = [&](std::size_t i) {
    return std::max(state.logits[static_cast<std::size_t>(candidates.token(i))] - state.max, -1e30F) *
           state.scale;
  };
  double mean = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates.weights[i] > 0) mean += static_cast<double>(candidates.weights[i] * log_weight(i));
  }
  const auto typical = static_cast<float>(mean / total);
  std::vector<std::uint32_t>& keys = state.workspace.keys;
  keys.resize(candidates.size());
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = ordered_bits(std::abs(log_weight(i) - typical));
  keep_by_mass(state.candidates, std::max(static_cast<double>(p), 0.0) * total, state.workspace);
}

std::int32_t draw(const Candidates& candidates, double u) {
  constexpr std::size_t kRun = 256;
  const std::span<const float> weights = candidates.weights;
  const double target = u * sum(weights);
  double reached = 0;
  std::size_t first = 0;
  for (; first + kRun < weights.size(); first += kRun) {
    const double next = reached + sum(weights.subspan(first, kRun));
    if (next > target) break;
    reached = next;
  }
  // Sums of runs are rounded differently: then the last token that has a weight is taken.
  std::size_t chosen = first;
  for (std::size_t i = first; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    reached += static_cast<double>(weights[i]);
    if (reached > target) break;
  }
  return candidates.token(chosen);
}

}  // namespace tw::infer
