#include "cli/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/markup.h"

namespace tw::cli {
namespace {

constexpr double kWidth = 800, kHeight = 450, kLeft = 70, kRight = 20, kTop = 40, kBottom = 50;
constexpr std::size_t kMostPieces = 300;
constexpr const char* kStyle =
    "text{font:13px sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:bold}"
    ".grid{stroke:#d0d7de}.axis{stroke:#57606a}"
    ".l0{stroke:#0969da}.f0{fill:#0969da}.l1{stroke:#bc4c00}.f1{fill:#bc4c00}.l2{stroke:#1a7f37}.f2{fill:#"
    "1a7f37}"
    ".l3{stroke:#8250df}.f3{fill:#8250df}.page{fill:#ffffff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}"
    ".l0{stroke:#58a6ff}.f0{fill:#58a6ff}.l1{stroke:#f0883e}.f1{fill:#f0883e}.l2{stroke:#3fb950}.f2{fill:#"
    "3fb950}"
    ".l3{stroke:#a371f7}.f3{fill:#a371f7}.page{fill:#0d1117}}";

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  /// Never of no width.
  void widen(double share) {
    if (!(high > low)) {
      low -= std::max(std::fabs(low) * 0.05, 0.5);
      high += std::max(std::fabs(high) * 0.05, 0.5);
    }
    const double more = (high - low) * share;
    low -= more;
    high += more;
  }
};

/// One piece of a line: where it is, and what its points are.
struct Piece {
  double x = 0, mean = 0;
  Range range;
};

struct Frame {
  Range x, y;  // y: the logarithm if log
  bool log = false;

  double height_of(double value) const { return log ? std::log10(value) : value; }
  double at_x(double value) const {
    return kLeft + (value - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  }
  double at_y(double value) const {
    return kHeight - kBottom - (height_of(value) - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  }
};

std::vector<ChartPoint> shown(const ChartLine& line, bool log) {
  std::vector<ChartPoint> points;
  for (const ChartPoint& p : line.points) {
    if (std::isfinite(p.x) && std::isfinite(p.y) && (!log || p.y > 0)) points.push_back(p);
  }
  return points;
}

std::vector<Piece> pieces_of(const std::vector<ChartPoint>& points) {
  const std::size_t count = std::min(points.size(), kMostPieces);
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = i * points.size() / count, end = (i + 1) * points.size() / count;
    Piece piece;
    for (std::size_t at = begin; at < end; ++at) {
      piece.x += points[at].x / static_cast<double>(end - begin);
      piece.mean += points[at].y / static_cast<double>(end - begin);
      piece.range.add(points[at].y);
    }
    pieces.push_back(piece);
  }
  return pieces;
}

std::string tick_text(double value) {
  const double size = std::fabs(value);
  if (size >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (size >= 1e4) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:g}", size < 1e-12 ? 0.0 : value);
}

std::vector<double> y_ticks(const Frame& frame) {
  if (!frame.log) return chart_ticks(frame.y.low, frame.y.high, 7);
  const double low = std::pow(10, frame.y.low), high = std::pow(10, frame.y.high);
  if (high / low < 20) return chart_ticks(low, high, 7);
  return chart_log_ticks(low, high);
}

std::string text_at(double x, double y, const char* anchor, std::string_view text,
                    std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                     html_escape(text));
}

std::string axes(const Frame& frame, const ChartOptions& options) {
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  std::string svg;
  for (const double tick : y_ticks(frame)) {
    const double y = frame.at_y(tick);
    svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>\n", kLeft, y, right);
    svg += text_at(kLeft - 8, y + 4, "end", tick_text(tick));
  }
  for (const double tick : chart_ticks(frame.x.low, frame.x.high, 8)) {
    const double x = frame.at_x(tick);
    svg += fmt::format("<path class=\"axis\" d=\"M{:.1f} {}v5\"/>\n", x, bottom);
    svg += text_at(x, bottom + 20, "middle", tick_text(tick));
  }
  svg += fmt::format("<path class=\"axis\" fill=\"none\" d=\"M{} {}V{}H{}\"/>\n", kLeft, kTop, bottom, right);
  svg += text_at(kLeft, 24, "start", options.title, " class=\"title\"");
  svg += text_at((kLeft + right) / 2, kHeight - 10, "middle", options.x_label);
  svg += text_at(0, 0, "middle", options.y_label + (options.log_y ? ", logarithmic" : ""),
                 fmt::format(" transform=\"translate(18 {}) rotate(-90)\"", (kTop + bottom) / 2));
  return svg;
}

std::string line_of(const std::vector<Piece>& pieces, bool has_band, const Frame& frame, std::size_t number) {
  const std::size_t colour = number % 4;
  std::string svg, line, band;
  for (const Piece& p : pieces)
    line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", frame.at_x(p.x), frame.at_y(p.mean));
  if (has_band) {
    for (const Piece& p : pieces)
      band +=
          fmt::format("{}{:.1f} {:.1f}", band.empty() ? "M" : "L", frame.at_x(p.x), frame.at_y(p.range.high));
    for (auto p = pieces.rbegin(); p != pieces.rend(); ++p)
      band += fmt::format("L{:.1f} {:.1f}", frame.at_x(p->x), frame.at_y(p->range.low));
    svg += fmt::format("<path class=\"f{}\" fill-opacity=\"0.2\" d=\"{}Z\"/>\n", colour, band);
  }
  svg += fmt::format("<path class=\"l{}\" fill=\"none\" stroke-width=\"1.8\" d=\"{}\"/>\n", colour, line);
  // Few points are each worth seeing.
  for (const Piece& p : pieces) {
    if (pieces.size() <= 40)
      svg += fmt::format("<circle class=\"f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>\n", colour,
                         frame.at_x(p.x), frame.at_y(p.mean));
  }
  return svg;
}

std::string legend(std::span<const ChartLine> lines) {
  std::string svg;
  double y = kTop + 14;
  for (std::size_t i = 0; i < lines.size(); ++i, y += 19) {
    if (lines[i].points.empty()) continue;
    const std::string last = fmt::format("{}, last {:.4g}", lines[i].name, lines[i].points.back().y);
    svg += text_at(kWidth - kRight - 30, y + 4, "end", last);
    svg += fmt::format("<path class=\"l{}\" stroke-width=\"3\" d=\"M{} {}h20\"/>\n", i % 4,
                       kWidth - kRight - 24, y);
  }
  return svg;
}

}  // namespace

std::vector<double> chart_log_ticks(double low, double high) {
  std::vector<double> ticks;
  for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (decade * step >= low && decade * step <= high) ticks.push_back(decade * step);
    }
  }
  return ticks;
}

std::vector<double> chart_ticks(double low, double high, int wanted) {
  const double raw = (high - low) / wanted, decade = std::pow(10, std::floor(std::log10(raw)));
  double step = decade * 10;
  for (const double nice : {5.0, 2.0, 1.0}) {
    if (decade * nice >= raw) step = decade * nice;
  }
  std::vector<double> ticks;
  // By whole numbers: sums of steps would drift.
  for (double i = std::ceil(low / step); i * step <= high; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string line_chart(std::span<const ChartLine> lines, const ChartOptions& options) {
  Frame frame;
  frame.log = options.log_y;
  std::vector<std::vector<ChartPoint>> points;
  for (const ChartLine& line : lines) {
    points.push_back(shown(line, frame.log));
    for (const ChartPoint& p : points.back()) {
      frame.x.add(p.x);
      frame.y.add(frame.height_of(p.y));
    }
  }
  if (!(frame.x.low <= frame.x.high)) frame.x = frame.y = {0, 1};
  frame.x.widen(0);
  frame.y.widen(0.04);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n"
      "<style>{2}</style>\n<rect class=\"page\" width=\"{0}\" height=\"{1}\"/>\n",
      kWidth, kHeight, kStyle);
  svg += axes(frame, options);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::vector<Piece> pieces = pieces_of(points[i]);
    if (!pieces.empty()) svg += line_of(pieces, pieces.size() < points[i].size(), frame, i);
  }
  return svg + legend(lines) + "</svg>\n";
}

}  // namespace tw::cli
