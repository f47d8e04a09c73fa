#include "infer/token_select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace tw::infer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Lanes broadcast(float x) {
  return Lanes{x, x, x, x};
}

/// e^x for x <= 0. Splits x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts: Cody and Waite 1980) and
/// takes the Taylor polynomial of degree 7 for e^r, whose error there is below 6e-9.
inline Lanes exp_negative(Lanes x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Lanes lowest = broadcast(-87.0F);
  const Lanes clamped = x < lowest ? lowest : x;
  const Lanes shifted = clamped * 1.44269504F + kRound;
  const Lanes n = shifted - kRound;
  const Lanes r = (clamped - n * 0.693145752F) - n * 1.42860677e-6F;
  Lanes p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const LaneBits exponent = std::bit_cast<LaneBits>(shifted) - std::bit_cast<std::int32_t>(kRound);
  const Lanes power = std::bit_cast<Lanes>((exponent + 127) << 23);
  return x < lowest ? broadcast(0) : p * power;
}

/// Of the radix by which keep_by_mass looks at keys: 11 bits, of which the upper one is 0 after the first
/// round.
constexpr std::uint32_t kDigits = 2048;

/// The bucket in which the running sum of `masses` reaches `target`; adds those before it to `reached`.
std::size_t find_bucket(std::span<const double> masses, double target, double& reached) {
  std::size_t last = 0;
  double before = reached;
  for (std::size_t bucket = 0; bucket < masses.size(); ++bucket) {
    if (masses[bucket] == 0) continue;
    reached = before;
    last = bucket;
    before += masses[bucket];
    if (before >= target) return bucket;
  }
  return last;  // rounding: the sum over all is just below the target
}

}  // namespace

float max_value(std::span<const float> values) {
  std::array<Lanes, 2> best = {broadcast(-kInfinity), broadcast(-kInfinity)};
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8) {
    for (std::size_t half = 0; half < 2; ++half) {
      const Lanes x = load_lanes(values.data() + i + 4 * half);
      best[half] = x > best[half] ? x : best[half];
    }
  }
  float max = -kInfinity;
  for (; i < values.size(); ++i) max = std::max(max, values[i]);
  for (const Lanes lanes : best) max = std::max({max, lanes[0], lanes[1], lanes[2], lanes[3]});
  return max;
}

bool all_below_infinity(std::span<const float> values) {
  const Lanes largest = broadcast(std::numeric_limits<float>::max());
  LaneBits fine = ~LaneBits{};
  std::size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) fine &= load_lanes(values.data() + i) <= largest;
  bool all = !any_lane(~fine);
  for (; i < values.size(); ++i) all = all && values[i] <= largest[0];
  return all;
}

void relative_weights(std::span<const float> values, float max, float scale, std::span<float> out) {
  const auto weigh = [&](Lanes x) {
    x -= max;
    // Keeps 0 x infinity out of the product.
    return exp_negative((x < -1e30F ? broadcast(-1e30F) : x) * scale);
  };
  std::size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    const Lanes weights = weigh(load_lanes(values.data() + i));
    std::memcpy(out.data() + i, &weights, sizeof(weights));
  }
  for (; i < values.size(); ++i) out[i] = weigh(broadcast(values[i]))[0];
}

double sum(std::span<const float> values) {
  // Floats are added only 16 times in a row.
  constexpr std::size_t kBlock = 64;
  double total = 0;
  std::size_t first = 0;
  for (; first + kBlock <= values.size(); first += kBlock) {
    Lanes lanes = broadcast(0);
    for (std::size_t i = 0; i < kBlock; i += 4) lanes += load_lanes(values.data() + first + i);
    total += static_cast<double>(lanes[0]) + static_cast<double>(lanes[1]) + static_cast<double>(lanes[2]) +
             static_cast<double>(lanes[3]);
  }
  for (; first < values.size(); ++first) total += static_cast<double>(values[first]);
  return total;
}

Cut kth_largest(std::span<const float> values, std::size_t k, SelectWorkspace& workspace) {
  std::vector<float>& best = workspace.values;
  float least = 0;
  if (k > values.size() / 16) {
    best.assign(values.begin(), values.end());
    const auto place = best.begin() + static_cast<std::ptrdiff_t>(k) - 1;
    std::ranges::nth_element(best, place, std::greater<>());
    least = *place;
  } else {
    // A heap of the k best so far, the least of them on top: nearly all values fail the one comparison with
    // it.
    best.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k));
    std::ranges::make_heap(best, std::greater<>());
    std::size_t at = k;
    while (at < values.size()) {
      const std::span<const float> rest = values.subspan(at);
      const float above = std::nextafter(best.front(), kInfinity);
      std::size_t found = rest.size();
      for_each_at_least(rest, above, [&](std::size_t i) {
        found = i;
        return false;
      });
      at += found + 1;
      if (found == rest.size()) break;
      std::ranges::pop_heap(best, std::greater<>());
      best.back() = rest[found];
      std::ranges::push_heap(best, std::greater<>());
    }
    least = best.front();
  }
  const auto top = std::span(best).first(k);
  return {least, static_cast<std::size_t>(std::ranges::count(top, least))};
}

void keep_by_mass(Candidates& candidates, double target, SelectWorkspace& workspace) {
  const std::vector<std::uint32_t>& keys = workspace.keys;
  const std::vector<float>& weights = candidates.weights;
  std::vector<std::int32_t>& open = workspace.open;
  open.resize(keys.size());
  std::iota(open.begin(), open.end(), 0);
  double reached = 0;
  for (const int shift : {20, 10, 0}) {
    const auto digit = [&](std::int32_t i) {
      return keys[static_cast<std::size_t>(i)] >> shift & (kDigits - 1);
    };
    workspace.masses.assign(kDigits, 0.0);
    for (const std::int32_t i : open) {
      workspace.masses[digit(i)] += static_cast<double>(weights[static_cast<std::size_t>(i)]);
    }
    const std::size_t bucket = find_bucket(workspace.masses, target, reached);
    std::erase_if(open, [&](std::int32_t i) { return digit(i) != bucket; });
  }
  // Only candidates with the key of the last one that is kept are left.
  std::size_t last = 0;
  while (last + 1 < open.size()) {
    reached += static_cast<double>(weights[static_cast<std::size_t>(open[last])]);
    if (reached >= target) break;
    ++last;
  }
  const auto cut = static_cast<std::size_t>(open[last]);
  candidates.filter(
      [&keys, cut, key = keys[cut]](std::size_t i) { return keys[i] < key || (keys[i] == key && i <= cut); });
}

}  // namespace tw::infer
