#include "train/soft_top.h"

#include <algorithm>
#include <cmath>

namespace tw::train {
namespace {

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

void soft_top(std::span<const float> scores, double k, double temperature, std::span<float> mask) {
  const auto n = static_cast<double>(scores.size());
  if (k >= n) return std::fill(mask.begin(), mask.end(), 1.0F);
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  // Where all have a mask of k / n, or more, or less.
  const double even = temperature * std::log(k / (n - k));
  double low = even - static_cast<double>(*most), high = even - static_cast<double>(*least);
  constexpr int kHalvings = 60;
  for (int i = 0; i < kHalvings; ++i) {
    const double t = 0.5 * (low + high);
    double sum = 0;
    for (const float score : scores) sum += sigmoid((static_cast<double>(score) + t) / temperature);
    (sum < k ? low : high) = t;
  }
  for (std::size_t i = 0; i < scores.size(); ++i)
    mask[i] = static_cast<float>(sigmoid((static_cast<double>(scores[i]) + high) / temperature));
}

void soft_top_gradient(std::span<const float> mask, std::span<const double> d_mask, double temperature,
                       std::span<double> d_scores) {
  const auto slope = [&](std::size_t i) {
    return static_cast<double>(mask[i]) * (1 - static_cast<double>(mask[i]));
  };
  double slopes = 0, pull = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    slopes += slope(i);
    pull += slope(i) * d_mask[i];
  }
  const double mean = slopes > 0 ? pull / slopes : 0;
  for (std::size_t i = 0; i < mask.size(); ++i) d_scores[i] = slope(i) * (d_mask[i] - mean) / temperature;
}

}  // namespace tw::train
