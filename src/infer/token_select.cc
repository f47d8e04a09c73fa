#include "infer/token_select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace tw::infer {
namespace {

/// Values handled together, so that the compiler makes vector code of the inner loops.
constexpr std::size_t kLanes = 16;

/// e^x for x <= 0. Splits x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts: Cody and Waite 1980) and
/// takes the Taylor polynomial of degree 7 for e^r, whose error there is below 6e-9.
inline float exp_negative(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const float clamped = std::max(x, -87.0F);
  const float shifted = clamped * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693145752F) - n * 1.42860677e-6F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  const float power = std::bit_cast<float>((exponent + 127) << 23);
  return x < -87.0F ? 0.0F : p * power;
}

constexpr int kBucketShift = 18;
constexpr std::size_t kFew = 512;  // that are sorted at once

/// The bucket in which the running sum of `masses` reaches `target`, and the sum before it.
std::pair<std::size_t, double> find_bucket(std::span<const double> masses, double target) {
  double before = 0;
  std::size_t last = 0;
  for (std::size_t bucket = 0; bucket < masses.size(); ++bucket) {
    if (masses[bucket] == 0) continue;
    if (before + masses[bucket] >= target) return {bucket, before};
    last = bucket;
    before += masses[bucket];
  }
  return {last, std::numeric_limits<double>::lowest()};  // rounding: the whole of the last bucket is needed
}

}  // namespace

float max_value(std::span<const float> values) {
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = std::max(lanes[lane], values[i + lane]);
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::ranges::max_element(lanes);
}

void relative_weights(std::span<const float> values, float max, float scale, std::span<float> out) {
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      out[i + lane] = exp_negative(std::max(values[i + lane] - max, -1e30F) * scale);
    }
  }
  for (; i < values.size(); ++i) out[i] = exp_negative(std::max(values[i] - max, -1e30F) * scale);
}

double sum(std::span<const float> values) {
  std::array<double, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane]);
  }
  for (std::size_t lane = 0; i < values.size(); ++i, ++lane) lanes[lane] += static_cast<double>(values[i]);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

float kth_largest(std::span<const float> values, std::size_t k, SelectWorkspace& workspace) {
  std::vector<float>& best = workspace.values;
  if (k > values.size() / 16) {
    best.assign(values.begin(), values.end());
    const auto place = best.begin() + static_cast<std::ptrdiff_t>(k) - 1;
    std::ranges::nth_element(best, place, std::greater<>());
    return *place;
  }
  // A heap of the k best so far, the least of them on top: nearly all values fail the one comparison with it.
  best.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k));
  std::ranges::make_heap(best, std::greater<>());
  for (const float value : values.subspan(k)) {
    if (value <= best.front()) continue;
    std::ranges::pop_heap(best, std::greater<>());
    best.back() = value;
    std::ranges::push_heap(best, std::greater<>());
  }
  return best.front();
}

void keep_by_mass(Candidates& candidates, double share, SelectWorkspace& workspace) {
  const std::vector<std::uint32_t>& keys = workspace.keys;
  const double target = share * sum(candidates.weights);
  const int shift = keys.size() < kFew ? 31 : kBucketShift;
  workspace.masses.assign(std::size_t{1} << (31 - shift), 0.0);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    workspace.masses[keys[i] >> shift] += static_cast<double>(candidates.weights[i]);
  }
  const auto [bucket, before] = find_bucket(workspace.masses, target);
  auto& tied = workspace.tied;
  tied.clear();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] >> shift == bucket) tied.emplace_back(keys[i], static_cast<std::int32_t>(i));
  }
  std::ranges::sort(tied);
  double reached = before;
  std::size_t last = 0;
  while (last + 1 < tied.size()) {
    reached += candidates.weights[static_cast<std::size_t>(tied[last].second)];
    if (reached >= target) break;
    ++last;
  }
  candidates.filter([&, cut = tied[last]](std::size_t i) {
    return std::pair(keys[i], static_cast<std::int32_t>(i)) <= cut;
  });
}

}  // namespace tw::infer
