// The loops of sampling that pass over the whole vocabulary, and selection without a full sort.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace tw::infer {

/// Tokens that may still be drawn, in ascending order of id, and their probabilities relative to the largest
/// one.
struct Candidates {
  std::vector<std::int32_t> tokens;  ///< empty: candidate i is token i
  std::vector<float> weights;

  std::size_t size() const { return weights.size(); }
  std::int32_t token(std::size_t i) const {
    return tokens.empty() ? static_cast<std::int32_t>(i) : tokens[i];
  }

  /// Keeps candidate i where keep(i), which is called once for each i, ascending.
  template <typename Keep>
  void filter(Keep keep) {
    const bool all_tokens = tokens.empty();
    tokens.resize(weights.size());
    std::size_t kept = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (!keep(i)) continue;
      tokens[kept] = all_tokens ? static_cast<std::int32_t>(i) : tokens[i];
      weights[kept++] = weights[i];
    }
    tokens.resize(kept);
    weights.resize(kept);
  }
};

/// Buffers of the selections below; they keep their capacity.
struct SelectWorkspace {
  std::vector<float> values;
  std::vector<std::uint32_t> keys;
  std::vector<double> masses;
  std::vector<std::int32_t> open;  ///< candidates among which the cut lies
};

/// Four floats in a register, on any machine that both compilers know.
using Lanes = float __attribute__((vector_size(16)));
using LaneBits = std::int32_t __attribute__((vector_size(16)));

/// Values handled together: four registers.
inline constexpr std::size_t kGroup = 16;

inline Lanes load_lanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

inline bool any_lane(LaneBits bits) {
  std::uint64_t halves[2];
  std::memcpy(halves, &bits, sizeof(halves));
  return (halves[0] | halves[1]) != 0;
}

/// Calls visit(i) for each value >= cut, ascending, until it returns false. Where such values are rare, this
/// costs about one instruction for each value. REQUIRES: no NaN.
template <typename Visit>
void for_each_at_least(std::span<const float> values, float cut, Visit visit) {
  const Lanes least = {cut, cut, cut, cut};
  std::size_t i = 0;
  for (; i + kGroup <= values.size(); i += kGroup) {
    const float* group = values.data() + i;
    const LaneBits found = (load_lanes(group) >= least) | (load_lanes(group + 4) >= least) |
                           (load_lanes(group + 8) >= least) | (load_lanes(group + 12) >= least);
    if (!any_lane(found)) continue;
    for (std::size_t lane = 0; lane < kGroup; ++lane) {
      if (group[lane] >= cut && !visit(i + lane)) return;
    }
  }
  for (; i < values.size(); ++i) {
    if (values[i] >= cut && !visit(i)) return;
  }
}

/// The largest value; -infinity when there is none. REQUIRES: no NaN.
float max_value(std::span<const float> values);

/// Whether all values are finite or -infinity.
bool all_below_infinity(std::span<const float> values);

/// out[i] = exp((values[i] - max) * scale), with a relative error below 2e-7; 0 below e^-87, exactly 1 for
/// max. REQUIRES: values[i] <= max, max is finite, scale >= 0, out is as long as values.
void relative_weights(std::span<const float> values, float max, float scale, std::span<float> out);

/// The sum, in an order fixed by the size; relative error below 2e-6.
double sum(std::span<const float> values);

/// The k-th largest value, and how many of the values equal to it are among the k largest.
struct Cut {
  float value;
  std::size_t ties;
};

/// O(n + k log k log n) on shuffled values. REQUIRES: 0 < k <= values.size(), no NaN.
Cut kth_largest(std::span<const float> values, std::size_t k, SelectWorkspace& workspace);

/// Keeps the shortest run of candidates, in ascending order of workspace.keys (equal keys: of id), whose
/// weights sum up to at least target; at least one. O(n): finds the end of the run by the digits of its key,
/// upper ones first. REQUIRES: a key below 2^31 for each candidate; a weight above 0.
void keep_by_mass(Candidates& candidates, double target, SelectWorkspace& workspace);

}  // namespace tw::infer
