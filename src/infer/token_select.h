// The loops of sampling that pass over the whole vocabulary, and selection without a full sort.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tw::infer {

/// Tokens that may still be drawn, in ascending order of id. Parallel lists.
struct Candidates {
  std::vector<std::int32_t> tokens;
  std::vector<float> values;   ///< logits; not kept up by filter()
  std::vector<float> weights;  ///< probability relative to the largest, which has 1

  std::size_t size() const { return tokens.size(); }

  /// Keeps entry i where keep(i), in order. `keep` is called once for each i, ascending.
  template <typename Keep>
  void filter(Keep keep) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (!keep(i)) continue;
      tokens[kept] = tokens[i];
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
  std::vector<std::pair<std::uint32_t, std::int32_t>> tied;  ///< (key, index) inside the bucket that is cut
};

/// The largest value; -infinity when there is none. REQUIRES: no NaN.
float max_value(std::span<const float> values);

/// out[i] = exp((values[i] - max) * scale), with a relative error below 2e-7; 0 below e^-87, exactly 1 for
/// max. REQUIRES: values[i] <= max, max is finite, scale >= 0, out is as long as values.
void relative_weights(std::span<const float> values, float max, float scale, std::span<float> out);

/// The sum in double precision, in an order fixed by the size.
double sum(std::span<const float> values);

/// The k-th largest value, duplicates counted. O(n + k log k log n) on shuffled values.
/// REQUIRES: 0 < k <= values.size(), no NaN.
float kth_largest(std::span<const float> values, std::size_t k, SelectWorkspace& workspace);

/// Keeps the shortest run of candidates, in ascending order of workspace.keys (equal keys: of id), whose
/// weights sum up to at least share * the sum of all weights; at least one. Many keys are put into buckets by
/// their upper bits, and only the one bucket in which the run ends is sorted. REQUIRES: a key below 2^31 for
/// each candidate; at least one.
void keep_by_mass(Candidates& candidates, double share, SelectWorkspace& workspace);

}  // namespace tw::infer
