#include "cli/html_page.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

namespace tw::cli {
namespace {

std::string plain(double value) {
  return fmt::format("{:g} s", value);
}

TEST(HtmlPage, NothingThatIsHandedInCanBecomeMarkup) {
  const std::string evil = "<script>alert(1)</script>\"'&\x01<img src=x onerror=alert(2)>";
  HtmlPage page(evil);
  page.heading(evil);
  page.paragraph(evil);
  page.table({evil, evil}, {{evil, evil}, {evil, "1"}});
  page.stacked_bars({evil, evil}, {{evil, {1, 2}}, {evil, {3, 0}}}, 4, [&](double) { return evil; });
  page.scatter(
      evil, evil, {{1, 2, evil, true}, {2, 1, evil, false}}, [&](double) { return evil; },
      [&](double) { return evil; });
  page.ranges({{evil, 1, 3}}, 2, [&](double) { return evil; });
  page.timeline({evil}, {evil}, {{0, 0, 0, 1, evil}}, [&](double) { return evil; });
  const std::string text = page.text();
  EXPECT_EQ(text.find("<script"), std::string::npos);
  EXPECT_EQ(text.find("<img"), std::string::npos);
  EXPECT_EQ(text.find('\x01'), std::string::npos);
  // Each of them is there, as text.
  std::size_t seen = 0;
  for (std::size_t at = 0;
       (at = text.find("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;", at)) != std::string::npos;
       ++at)
    ++seen;
  EXPECT_GE(seen, 25U);
}

TEST(HtmlPage, BarsAreAsWideAsTheirValues) {
  HtmlPage page("t");
  page.stacked_bars({"a", "b", "none"}, {{"r", {1, 3, 0}}}, 8, plain);
  const std::string text = page.text();
  EXPECT_NE(text.find("width:12.500%\" title=\"a 1 s\""), std::string::npos);
  EXPECT_NE(text.find("width:37.500%\" title=\"b 3 s\""), std::string::npos);
  EXPECT_NE(text.find("<b>4 s</b>"), std::string::npos);
  EXPECT_NE(text.find("b 3 s (37.5 %)"), std::string::npos);
  EXPECT_EQ(text.find("none"), text.find("none'; style-src"));  // but for the policy
  // More than whole: the bar is full and not broader.
  page.stacked_bars({"c"}, {{"over", {16}}}, 8, plain);
  EXPECT_NE(page.text().find("width:100.000%\" title=\"c 16 s\""), std::string::npos);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST(HtmlPage, LongTablesAndChartsFoldOnNarrowScreens) {
  HtmlPage page("t");
  const std::vector<std::vector<std::string>> rows(7, {"a", "1"});
  const std::vector<BarRow> bars(9, {"b", {1}});
  page.table({"", "value"}, {rows[0], rows[1]});
  EXPECT_EQ(count(page.text(), "<input"), 0U);
  page.table({"", "value"}, rows);
  page.stacked_bars({"c"}, bars, 1, plain);
  page.ranges(std::vector<RangeRow>(6, {"r", 1, 3}), 2, plain);
  const std::string text = page.text();
  EXPECT_EQ(count(text, "<tr class=\"late\">"), 2U);
  EXPECT_EQ(count(text, "class=\"row late\""), 4U + 1);
  EXPECT_EQ(count(text, "<div class=\"fold\">"), 3U);
  for (const char* id : {"f1", "f2", "f3"}) {  // each box has its label, and no other
    EXPECT_EQ(count(text, fmt::format("id=\"{}\"", id)), 1U);
    EXPECT_EQ(count(text, fmt::format("for=\"{}\"", id)), 1U);
  }
  EXPECT_EQ(count(text, ">Show all 9<"), 1U);
  EXPECT_EQ(count(text, "<div"), count(text, "</div>"));
  EXPECT_EQ(count(text, "<tr"), 2U + 1 + 7 + 1);  // nothing is left out
}

TEST(HtmlPage, RangesStandBesideTheMiddle) {
  HtmlPage page("t");
  page.ranges({{"up", 8, 14}, {"down", 10, 9}}, 10, plain);
  const std::string text = page.text();
  EXPECT_NE(text.find("left:25.000%;width:25.000%"), std::string::npos);
  EXPECT_NE(text.find("left:50.000%;width:50.000%"), std::string::npos);
  EXPECT_NE(text.find("left:37.500%;width:12.500%"), std::string::npos);
}

TEST(HtmlPage, BytesThatAreNoTextBecomeOne) {
  HtmlPage page("model-\xff\xc3.gguf");
  const std::string text = page.text();
  EXPECT_NE(text.find("model-\xEF\xBF\xBD\xEF\xBF\xBD.gguf"), std::string::npos);
  EXPECT_EQ(text.find('\xff'), std::string::npos);
}

TEST(HtmlPage, AxesLeaveRoomForTheirLabels) {
  for (const char* unit : {"s", "million dollars"}) {
    HtmlPage page("t");
    const auto wide = [&](double v) { return fmt::format("{:.2f} {}", v, unit); };
    page.scatter("x", "y", {{1, 2, "a", false}, {2, 3, "b", false}}, plain, wide);
    const std::string text = page.text();
    int labels = 0;
    for (std::size_t at = 0; (at = text.find("text-anchor=\"end\">", at)) != std::string::npos; ++at) {
      const std::size_t begin = at + 18, end = text.find('<', begin), x = text.rfind("x=\"", at);
      const std::string label = text.substr(begin + 1, end - begin - 1);
      if (!label.ends_with(unit)) continue;
      ++labels;
      // No narrower than 6 of the page's 11-pixel characters.
      EXPECT_GE(std::stod(text.substr(x + 3)), 6.0 * static_cast<double>(label.size()));
    }
    EXPECT_GT(labels, 2);
  }
}

TEST(HtmlPage, PointsStandWhereTheyBelong) {
  HtmlPage page("t");
  page.scatter("x", "y", {{0, 10, "a", false}, {5, 5, "b", true}, {10, 0, "c", false}}, plain, plain);
  const std::string text = page.text();
  const auto place = [&](const char* name) {
    const std::size_t end = text.find(fmt::format("<title>{}</title></circle>", name));
    const std::size_t begin = text.rfind("cx=\"", end);
    double x = 0, y = 0;
    EXPECT_EQ(std::sscanf(text.c_str() + begin, "cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
    return std::pair(x, y);
  };
  EXPECT_NEAR(place("b").first * 2, place("a").first + place("c").first, 0.2);
  EXPECT_NEAR(place("b").second * 2, place("a").second + place("c").second, 0.2);
  EXPECT_LT(place("a").second, place("c").second);
  page.scatter("x", "y", {{1, 1, "one", false}}, plain, plain);  // no width to divide by
  EXPECT_EQ(page.text().find("nan"), std::string::npos);
  EXPECT_EQ(page.text().find("inf"), std::string::npos);
}

}  // namespace
}  // namespace tw::cli
