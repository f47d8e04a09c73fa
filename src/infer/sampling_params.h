// How the next token is drawn from the logits. The order of the steps is vLLM's: penalties and bias,
// temperature, top-k, top-p, min-p, typical-p; then one draw.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace tw::infer {

struct SamplingParams {
  float temperature = 1.0F;  ///< 0: the most likely token after bias and penalties; the filters play no part
  std::int32_t top_k = 0;    ///< 0: all
  float top_p = 1.0F;
  float min_p = 0.0F;      ///< keep tokens with probability >= min_p x the largest
  float typical_p = 1.0F;  ///< locally typical sampling (arXiv 2202.00666)
  float repetition_penalty =
      1.0F;  ///< over prompt and answer: positive logits are divided, negative multiplied
  float presence_penalty = 0.0F;   ///< over the answer, once per distinct token
  float frequency_penalty = 0.0F;  ///< over the answer, times the count
  std::vector<std::pair<std::int32_t, float>> logit_bias = {};
  std::uint64_t seed = 0;  ///< the draw at answer position i depends on (seed, i) alone
};

}  // namespace tw::infer
