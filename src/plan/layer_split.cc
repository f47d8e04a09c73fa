#include "plan/layer_split.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tw::plan {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
/// By which splits count as equally fast.
constexpr double kSame = 1e-9;

class Splitter {
 public:
  Splitter(int layers, int stages, const StageCost& cost)
      : layers_(layers), stages_(stages), cost_(cost), latest_(stages + 1), earliest_(stages + 1) {}

  /// Whether no stage need take longer; then latest_[s] is the last layer before which stage s can begin. As
  /// a range costs no less than a part of it, who takes all that fits leaves the others the least.
  bool reaches(double most) {
    latest_[0] = 0;
    for (int s = 0; s < stages_; ++s) {
      const int room = layers_ - (stages_ - 1 - s);
      int end = latest_[s];
      while (end < room && cost_(s, latest_[s], end + 1 - latest_[s]) <= most) ++end;
      if (end == latest_[s]) return false;
      latest_[s + 1] = end;
    }
    return latest_[stages_] == layers_;
  }
  /// Of the stages as reaches() has filled them. REQUIRES: it was true.
  double slowest() const {
    double most = 0;
    for (int s = 0; s < stages_; ++s)
      most = std::max(most, cost_(s, latest_[s], latest_[s + 1] - latest_[s]));
    return most;
  }
  /// The first layer with which stage s can begin so that it and those behind it hold the rest.
  void look_back(double most) {
    earliest_[stages_] = layers_;
    for (int s = stages_ - 1; s >= 0; --s) {
      int first = earliest_[s + 1];
      while (first > s && cost_(s, first - 1, earliest_[s + 1] - first + 1) <= most) --first;
      earliest_[s] = first;
    }
  }
  /// The least sum of those splits whose stages all keep to `most`. REQUIRES: reaches(most).
  LayerSplit least_sum(double most);

 private:
  int layers_, stages_;
  const StageCost& cost_;
  std::vector<int> latest_, earliest_;
};

LayerSplit Splitter::least_sum(double most) {
  look_back(most);
  const int wide = layers_ + 1;
  std::vector<double> sum(wide, kInfinite), next;
  std::vector<int> from(static_cast<std::size_t>(stages_ + 1) * wide, 0);
  sum[0] = 0;
  for (int s = 0; s < stages_; ++s) {
    next.assign(wide, kInfinite);
    for (int first = std::max(s, earliest_[s]); first <= latest_[s]; ++first) {
      if (sum[first] == kInfinite) continue;
      for (int end = first + 1; end <= latest_[s + 1]; ++end) {
        const double seconds = cost_(s, first, end - first);
        if (seconds > most) break;
        if (end < earliest_[s + 1] || sum[first] + seconds >= next[end]) continue;
        next[end] = sum[first] + seconds;
        from[static_cast<std::size_t>(s + 1) * wide + end] = first;
      }
    }
    sum.swap(next);
  }
  LayerSplit split;
  split.layers.resize(stages_);
  split.together = sum[layers_];
  for (int s = stages_, end = layers_; s > 0; --s) {
    const int first = from[static_cast<std::size_t>(s) * wide + end];
    split.layers[s - 1] = end - first;
    split.slowest = std::max(split.slowest, cost_(s - 1, first, end - first));
    end = first;
  }
  return split;
}

}  // namespace

std::optional<LayerSplit> split_layers(int layers, int stages, const StageCost& cost) {
  Splitter splitter(layers, stages, cost);
  if (!splitter.reaches(std::numeric_limits<double>::max())) return std::nullopt;
  double low = 0, high = splitter.slowest();
  while (high - low > kSame / 2 * high) {
    const double middle = (low + high) / 2;
    (splitter.reaches(middle) ? high : low) = middle;
  }
  const double most = high * (1 + kSame / 2);
  return splitter.reaches(most) ? std::optional(splitter.least_sum(most)) : std::nullopt;
}

}  // namespace tw::plan
