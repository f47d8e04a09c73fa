// Soft top-k masks (arXiv 2304.04947): numbers between 0 and 1 that add up to k, by scores that are learnt.
#pragma once

#include <span>

namespace tw::train {

/// mask[i] = sigmoid((scores[i] + t) / temperature), with the t by which they add up to `k`. The smaller the
/// temperature, the nearer each is to 0 or 1. REQUIRES: 0 < k <= size, temperature > 0.
void soft_top(std::span<const float> scores, double k, double temperature, std::span<float> mask);

/// Of a loss by the scores, from its gradient by the mask: t moves with them.
void soft_top_gradient(std::span<const float> mask, std::span<const double> d_mask, double temperature,
                       std::span<double> d_scores);

}  // namespace tw::train
