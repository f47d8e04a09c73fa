// Draws the next token from a row of logits. Pure functions: the result depends on the arguments alone, never
// on what was drawn before or by whom. Thread-safe with one workspace per thread.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "infer/sampling_params.h"
#include "infer/token_counts.h"
#include "infer/token_select.h"

namespace tw::infer {

/// Buffers that grow to the vocabulary's size once; after that sample() allocates only for SampleOutput::top.
struct SamplerWorkspace {
  Candidates candidates;
  SelectWorkspace select;
  std::vector<float> row;      ///< a copy, where the caller's may not be changed
  std::vector<float> weights;  ///< of the whole row, for the logprobs
  std::vector<std::pair<std::int32_t, float>>
      originals;  ///< the model's own logits of tokens that were changed
};

struct SampleInput {
  std::span<float> logits;  ///< [V], the model's own; changed in place
  const SamplingParams* params = nullptr;
  const TokenCounts* counts = nullptr;     ///< null: nothing counted yet
  std::span<const std::uint32_t> allowed;  ///< grammar mask: token t may come when bit t % 32 of word t / 32
                                           ///< is set; tokens beyond its end may not. Empty: all may
  std::uint64_t position = 0;  ///< index of the answer token: with the seed it determines the draw
  int top_logprobs = -1;       ///< -1: no logprobs at all; k: the token's own and the k most likely
};

struct SampleOutput {
  std::int32_t token = 0;
  float logprob = 0;                                ///< natural log, in the model's own distribution
  std::vector<std::pair<std::int32_t, float>> top;  ///< most likely first, equal ones by id
  bool dead_end = false;                            ///< the grammar mask (or an empty row) allows no token
};

/// The steps, in this order:
///  1. logprobs, of the model's own distribution;
///  2. logit_bias is added (ids outside the vocabulary are ignored);
///  3. penalties: repetition for each token of prompt and answer (positive logits are divided, others
///  multiplied),
///     then frequency x count and presence for each token of the answer are subtracted;
///  4. the grammar mask;
///  5. temperature (below 1e-5: the largest logit, of equal ones the lowest id; 6 to 10 play no part);
///  6. top-k: exactly k, of equal ones the lowest ids; 0 or at least V: all;
///  7. top-p: the fewest of the most likely tokens whose probabilities sum up to p, at least one;
///  8. min-p: those with at least min_p x the largest probability;
///  9. typical-p (arXiv 2202.00666): the fewest of the tokens whose -log probability is closest to the
///  entropy, that
///     sum up to p, at least one. Each of 7 and 9 takes what is left before it as the whole distribution;
/// 10. one draw by uniform(seed, position), through the cumulative distribution in order of ids.
/// NaN counts as -infinity, +infinity as the largest finite number. Tokens of less than e^-87 of the largest
/// probability are never drawn. When every allowed token is at -infinity, the lowest allowed id comes; when
/// no token is allowed, 0 comes with dead_end set.
SampleOutput sample(const SampleInput& input, SamplerWorkspace& workspace);

/// The log-probability of a given token, and the k most likely ones (top_logprobs < 1: none). Values as
/// above. REQUIRES: 0 <= token < logits.size().
SampleOutput score_token(std::span<const float> logits, std::int32_t token, int top_logprobs,
                         SamplerWorkspace& workspace);

}  // namespace tw::infer
