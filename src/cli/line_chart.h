// A chart of lines as an SVG picture that fits light and dark pages.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace tw::cli {

struct ChartPoint {
  double x = 0, y = 0;
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;  ///< in the order of x
};

struct ChartOptions {
  std::string title, x_label, y_label;
  bool log_y = false;  ///< points at or below 0 are left out
};

/// The picture. Of lines with many points each piece of the width shows the mean, and the range as a band.
std::string line_chart(std::span<const ChartLine> lines, const ChartOptions& options);

/// Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high], about `wanted` of them.
std::vector<double> chart_ticks(double low, double high, int wanted);
/// 1, 2 and 5 times powers of ten. REQUIRES: low > 0.
std::vector<double> chart_log_ticks(double low, double high);

}  // namespace tw::cli
