#include "plan/fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tw::plan {
namespace {

using Point = std::vector<double>;

Point between(const Point& from, const Point& to, double t) {
  Point result(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) result[i] = from[i] + t * (to[i] - from[i]);
  return result;
}

/// n + 1 corners, best first.
struct Simplex {
  std::vector<std::pair<double, Point>> corners;
  const std::function<double(const Point&)>& f;

  void sort() {
    std::sort(corners.begin(), corners.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  Point centre() const {
    Point sum(corners[0].second.size(), 0);
    for (std::size_t c = 0; c + 1 < corners.size(); ++c) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += corners[c].second[i] / (corners.size() - 1);
    }
    return sum;
  }
  void replace_worst(Point p, double value) { corners.back() = {value, std::move(p)}; }
  void shrink() {
    for (std::size_t c = 1; c < corners.size(); ++c) {
      corners[c].second = between(corners[0].second, corners[c].second, 0.5);
      corners[c].first = f(corners[c].second);
    }
  }
  void step() {
    sort();
    const Point middle = centre(), worst = corners.back().second;
    Point reflected = between(worst, middle, 2);
    const double value = f(reflected);
    if (value < corners[0].first) {
      Point further = between(worst, middle, 3);
      const double there = f(further);
      if (there < value) return replace_worst(std::move(further), there);
      return replace_worst(std::move(reflected), value);
    }
    if (value < corners[corners.size() - 2].first) return replace_worst(std::move(reflected), value);
    Point nearer = between(middle, worst, 0.5);
    const double there = f(nearer);
    if (there < corners.back().first) return replace_worst(std::move(nearer), there);
    shrink();
  }
};

}  // namespace

std::vector<double> minimize(const std::function<double(const std::vector<double>&)>& f,
                             std::vector<double> start, int steps) {
  Simplex simplex{{{f(start), start}}, f};
  for (std::size_t i = 0; i < start.size(); ++i) {
    Point corner = start;
    corner[i] += 0.25;
    const double value = f(corner);
    simplex.corners.emplace_back(value, std::move(corner));
  }
  for (int i = 0; i < steps; ++i) simplex.step();
  simplex.sort();
  return simplex.corners[0].second;
}

Constants fit_constants(const std::vector<const Sample*>& samples) {
  if (samples.empty()) return kTypical;
  const auto constants = [](const Point& logs) {
    Constants c;
    for (int i = 0; i < kConstants; ++i) c[i] = kTypical[i] * std::exp(logs[i]);
    return c;
  };
  const auto error = [&](const Point& logs) {
    const Constants c = constants(logs);
    double sum = 0;
    // A run that was hindered (a factor of two and more) says nothing of the others.
    for (const Sample* s : samples)
      sum += std::min(std::fabs(step_seconds(s->basis, c) / s->seconds - 1), 0.5);
    double away = 0;
    for (const double log : logs) away += log * log;
    return (sum + 0.02 * away) / static_cast<double>(samples.size());
  };
  Point best = minimize(error, Point(kConstants, 0.0), 250);
  best = minimize(error, best, 150);  // anew from there: a flat simplex wakes up
  return constants(best);
}

}  // namespace tw::plan
