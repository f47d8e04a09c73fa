// What the sets of `plan validate` and the samples of a calibration are summed up by.
#pragma once

#include <algorithm>
#include <vector>

namespace tw::plan {

/// 0 of none.
inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// The middle one, or the mean of the two in the middle; 0 of none.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// The mean, of values over twice the median as if they were twice: what a long run of as many takes, without
/// the few that a hiccup stretched. 0 of none.
inline double steady_mean(std::vector<double> values) {
  const double most = 2 * median(values);
  for (double& v : values) v = std::min(v, most);
  return mean(values);
}

}  // namespace tw::plan
