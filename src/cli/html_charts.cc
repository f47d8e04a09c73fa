// The charts of HtmlPage: bars are boxes of the document, so that their text stays readable at any width;
// what has two axes is SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/html_page.h"
#include "cli/line_chart.h"
#include "cli/markup.h"

namespace tw::cli {
namespace {

/// Values to places from 0 to 1, by their logarithms where they span more than a decade.
class Axis {
 public:
  void take(double value) { low_ = std::min(low_, value), high_ = std::max(high_, value); }
  void close() {
    log_ = low_ > 0 && high_ > 10 * low_;
    if (log_) {
      low_ /= 1.15, high_ *= 1.15;
      return;
    }
    const double room = high_ > low_ ? 0.06 * (high_ - low_) : std::max(0.1 * std::fabs(high_), 1e-9);
    low_ = low_ >= 0 ? std::max(low_ - room, 0.0) : low_ - room;
    high_ += room;
  }
  double at(double value) const {
    return log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
  }
  std::vector<double> marks() const {
    return log_ ? chart_log_ticks(low_, high_) : chart_ticks(low_, high_, 6);
  }

 private:
  double low_ = 1e300, high_ = -1e300;
  bool log_ = false;
};

double percent(double part, double whole) {
  return whole > 0 ? std::clamp(100 * part / whole, 0.0, 100.0) : 0;
}

}  // namespace

void HtmlPage::stacked_bars(const std::vector<std::string>& categories, const std::vector<BarRow>& rows,
                            double whole, const ValueText& text) {
  std::vector<std::string> entries(categories.size());
  for (std::size_t i = 0; i < categories.size(); ++i) {
    const bool any =
        std::any_of(rows.begin(), rows.end(), [&](const BarRow& row) { return row.values[i] > 0; });
    if (!any) continue;
    entries[i] = categories[i];
    if (rows.size() == 1)
      entries[i] += fmt::format(" {} ({:.1f} %)", text(rows[0].values[i]), percent(rows[0].values[i], whole));
  }
  legend(entries);
  open_fold(rows.size());
  std::size_t shown = 0;
  for (const BarRow& row : rows) {
    const double sum = std::accumulate(row.values.begin(), row.values.end(), 0.0);
    body_ += fmt::format("<div class=\"row{}\"><div><span>{}</span><b>{}</b></div><div class=\"bar\">",
                         late(shown++) ? " late" : "", html_escape(row.name), html_escape(text(sum)));
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      if (row.values[i] <= 0) continue;
      body_ += fmt::format("<span class=\"k{}\" style=\"width:{:.3f}%\" title=\"{}\"></span>", i % kColours,
                           percent(row.values[i], std::max(whole, sum)),
                           html_escape(categories[i] + " " + text(row.values[i])));
    }
    body_ += "</div></div>\n";
  }
  close_fold(rows.size());
}

void HtmlPage::scatter(const std::string& x_title, const std::string& y_title,
                       const std::vector<ScatterPoint>& points, const ValueText& x_text,
                       const ValueText& y_text) {
  if (points.empty()) return;
  constexpr double kWidth = 420, kHeight = 280, kRight = 14, kTop = 22, kBottom = 40;
  Axis across, along;
  for (const ScatterPoint& p : points) across.take(p.x), along.take(p.y);
  across.close(), along.close();
  // A character of the page's 11 pixels is at most 7 wide on average.
  std::size_t longest = 0;
  for (const double tick : along.marks()) longest = std::max(longest, y_text(tick).size());
  const double left = std::min(10 + 7 * static_cast<double>(longest), kWidth / 2);
  const auto x = [&](double v) { return left + across.at(v) * (kWidth - left - kRight); };
  const auto y = [&](double v) { return kHeight - kBottom - along.at(v) * (kHeight - kTop - kBottom); };
  body_ += fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kWidth, kHeight,
                       html_escape(y_title + " against " + x_title));
  body_ += fmt::format("<path class=\"axis\" d=\"M{0} {1}V{2}H{3}\"/>", left, kTop, kHeight - kBottom,
                       kWidth - kRight);
  for (const double tick : across.marks())
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", x(tick),
                         kHeight - kBottom + 14, html_escape(x_text(tick)));
  for (const double tick : along.marks())
    body_ += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", left - 5, y(tick) + 4,
                         html_escape(y_text(tick)));
  body_ +=
      fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"4\" y=\"12\">{}</text>",
                  kWidth - kRight, kHeight - 8, html_escape(x_title), html_escape(y_title));
  std::string way;
  for (const ScatterPoint& p : points)
    way += fmt::format("{}{:.1f} {:.1f}", way.empty() ? "M" : "L", x(p.x), y(p.y));
  body_ += "<path class=\"front\" d=\"" + way + "\"/>";
  for (const ScatterPoint& p : points)
    body_ +=
        fmt::format("<circle class=\"k{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{}</title></circle>",
                    p.best ? 1 : 0, x(p.x), y(p.y), p.best ? 6 : 4, html_escape(p.title));
  body_ += "</svg>\n";
}

void HtmlPage::ranges(const std::vector<RangeRow>& rows, double middle, const ValueText& text) {
  double reach = 0;
  for (const RangeRow& row : rows)
    reach = std::max({reach, std::fabs(row.low - middle), std::fabs(row.high - middle)});
  if (reach <= 0) return;
  legend({"lower", "higher"});
  open_fold(rows.size());
  std::size_t shown = 0;
  for (const RangeRow& row : rows) {
    body_ +=
        fmt::format("<div class=\"row{}\"><div><span>{}</span><b>{} &ndash; {}</b></div><div class=\"bar\">",
                    late(shown++) ? " late" : "", html_escape(row.name), html_escape(text(row.low)),
                    html_escape(text(row.high)));
    int kind = 0;
    for (const double end : {row.low, row.high}) {
      const double from = std::min(end, middle), width = std::fabs(end - middle);
      body_ +=
          fmt::format("<span class=\"k{}\" style=\"position:absolute;left:{:.3f}%;width:{:.3f}%\"></span>",
                      kind++, 50 + 50 * (from - middle) / reach, 50 * width / reach);
    }
    body_ += "<span class=\"at\" style=\"left:calc(50% - 1px)\"></span></div></div>\n";
  }
  close_fold(rows.size());
}

void HtmlPage::timeline(const std::vector<std::string>& kinds, const std::vector<std::string>& rows,
                        const std::vector<TimelineSpan>& spans, const ValueText& text) {
  constexpr double kWidth = 420, kRight = 10;
  // A character of the page's 11 pixels is about 6 wide.
  std::size_t longest = 0;
  for (const std::string& row : rows) longest = std::max(longest, row.size());
  const double left = std::min(6 + 6.2 * static_cast<double>(longest), 0.45 * kWidth);
  const double height = rows.size() > 24 ? 7 : 14, bottom = height * static_cast<double>(rows.size());
  double end = 0;
  for (const TimelineSpan& span : spans) end = std::max(end, span.end);
  if (end <= 0) return;
  legend(kinds);
  const auto x = [&](double v) { return left + v / end * (kWidth - left - kRight); };
  body_ +=
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"timeline\">", kWidth, bottom + 22);
  for (std::size_t i = 0; i < rows.size(); i += rows.size() > 24 ? 4 : 1)
    body_ += fmt::format("<text x=\"0\" y=\"{:.1f}\">{}</text>",
                         height * static_cast<double>(i) + height * 0.75, html_escape(rows[i]));
  for (const TimelineSpan& s : spans)
    body_ += fmt::format(
        "<rect class=\"k{}\" x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" "
        "height=\"{:.1f}\"><title>{}</title></rect>",
        s.kind % static_cast<int>(kColours), x(s.start), height * s.row + 1,
        std::max(0.2, x(s.end) - x(s.start) - 0.3), height - 2, html_escape(s.title));
  for (const double tick : chart_ticks(0, end, 6))
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                         std::min(x(tick), kWidth - 18), bottom + 14, html_escape(text(tick)));
  body_ += "</svg>\n";
}

}  // namespace tw::cli
