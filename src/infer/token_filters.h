// Top-k, top-p, min-p and typical-p, each on what the ones before it left. sampler.h says what they mean
// exactly.
#pragma once

#include <cstdint>
#include <span>

#include "infer/token_select.h"

namespace tw::infer {

/// Where the filters work. `candidates.weights` are exp((logits[token] - max) * scale).
struct FilterState {
  std::span<const float> logits;  ///< [V], no NaN, no +infinity
  float max = 0;                  ///< the largest of them, finite
  float scale = 1;                ///< 1 / temperature
  Candidates& candidates;
  SelectWorkspace& workspace;
};

/// Fills the candidates: the k largest logits, of equal ones the lowest ids; all of them when k <= 0 or k >=
/// V.
void keep_top_k(FilterState& state, std::int32_t k);
void keep_top_p(FilterState& state, float p);
void keep_min_p(FilterState& state, float p);
void keep_typical_p(FilterState& state, float p);

/// The candidate at which the cumulative weight, in order of ids, passes u times the whole. REQUIRES: 0 <= u
/// < 1, a candidate with a weight above 0.
std::int32_t draw(const Candidates& candidates, double u);

}  // namespace tw::infer
