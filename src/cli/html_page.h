// One self-contained page: headings, tables and charts, without scripts or anything from elsewhere. All text
// that is handed in is escaped: names come from files. Light and dark, and readable on a phone, where of long
// tables and charts the first rows are shown and the others unfold.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tw::cli {

/// Of charts; a plan's time has that many categories.
inline constexpr std::size_t kColours = 9;

/// A number with its unit, as people read it.
using ValueText = std::function<std::string(double)>;

struct BarRow {
  std::string name;
  std::vector<double> values;  ///< one a category
};

struct ScatterPoint {
  double x = 0, y = 0;
  std::string title;  ///< shown when pointed at
  bool best = false;
};

struct RangeRow {
  std::string name;
  double low = 0, high = 0;  ///< when the input is lower, and higher
};

struct TimelineSpan {
  int row = 0, kind = 0;
  double start = 0, end = 0;
  std::string title;
};

class HtmlPage {
 public:
  explicit HtmlPage(std::string_view title);

  void heading(std::string_view text);
  void paragraph(std::string_view text);
  /// The first column names the row, the others are aligned by their first cell: numbers to the right.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
  /// One bar a row, cut by category; a legend with the values of the first row, or with names alone when
  /// there are more. `whole`: what a full bar is.
  void stacked_bars(const std::vector<std::string>& categories, const std::vector<BarRow>& rows, double whole,
                    const ValueText& text);
  /// Joined points; an axis over more than a decade is logarithmic. The texts are those of its marks.
  void scatter(const std::string& x_title, const std::string& y_title,
               const std::vector<ScatterPoint>& points, const ValueText& x_text, const ValueText& y_text);
  /// How far each row moves a number away from `middle`.
  void ranges(const std::vector<RangeRow>& rows, double middle, const ValueText& text);
  /// Rows from the top, time to the right; kinds are the legend.
  void timeline(const std::vector<std::string>& kinds, const std::vector<std::string>& rows,
                const std::vector<TimelineSpan>& spans, const ValueText& text);

  std::string text() const;

 private:
  /// Between these, rows of class "late" and columns that say how are shown on a narrow screen only when a
  /// box is ticked; `rows` in all. Does nothing where they are few.
  static bool late(std::size_t row);
  void open_fold(std::size_t rows);
  void close_fold(std::size_t rows);
  void legend(const std::vector<std::string>& entries);

  std::string title_, body_;
  int folds_ = 0;
};

}  // namespace tw::cli
