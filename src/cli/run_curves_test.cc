#include "cli/run_curves.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace tw::cli {
namespace {

class RunCurves : public ::testing::Test {
 protected:
  ~RunCurves() override { std::filesystem::remove(path_); }
  base::Result<std::vector<ChartLine>> read(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return run_curves(path_, {"loss", "validation_loss"});
  }
  static std::vector<std::pair<double, double>> points(const ChartLine& line) {
    std::vector<std::pair<double, double>> all;
    for (const ChartPoint& p : line.points) all.emplace_back(p.x, p.y);
    return all;
  }
  using Points = std::vector<std::pair<double, double>>;

  const std::string path_ = testing::TempDir() + "curves_" + std::to_string(getpid()) + ".jsonl";
};

TEST_F(RunCurves, TakesNumbersByTheirSteps) {
  const auto lines = read(
      "{\"step\":1,\"loss\":5.5,\"rate\":0.1}\n{\"step\":2,\"loss\":null}\n{\"note\":\"x\",\"loss\":1}\n"
      "{\"step\":2,\"validation_loss\":4}\n{\"step\":3,\"loss\":\"NaN\"}\n{\"step\":4,\"loss\":3}\n{\"step\":"
      "5,\"lo");
  ASSERT_TRUE(lines.ok()) << lines.error().text();
  EXPECT_EQ(points((*lines)[0]), (Points{{1, 5.5}, {4, 3}}));
  EXPECT_EQ(points((*lines)[1]), (Points{{2, 4}}));
}

TEST_F(RunCurves, ARunThatWentBackIsDrawnOnce) {
  const auto lines = read(
      "{\"step\":1,\"loss\":5}\n{\"step\":2,\"loss\":9}\n{\"step\":3,\"loss\":99}\n{\"step\":2,\"loss\":4}"
      "\n");
  ASSERT_TRUE(lines.ok());
  EXPECT_EQ(points((*lines)[0]), (Points{{1, 5}, {2, 4}}));
}

TEST_F(RunCurves, NamesTheLineAndWhatThereIs) {
  const auto broken = read("{\"step\":1,\"loss\":5}\nnonsense\n");
  EXPECT_NE(broken.error().text().find(path_ + ":2"), std::string::npos) << broken.error().text();
  const auto other = read("{\"step\":1,\"rate\":5}\n");
  EXPECT_NE(other.error().text().find("it has rate"), std::string::npos) << other.error().text();
  EXPECT_EQ(run_curves("/nowhere/log.jsonl", {"loss"}).error().code, base::Code::kNotFound);
}

TEST(ChartTicks, AreRoundAndInside) {
  EXPECT_EQ(chart_ticks(0, 1000, 8), (std::vector<double>{0, 200, 400, 600, 800, 1000}));
  EXPECT_EQ(chart_ticks(1.9, 4.1, 5), (std::vector<double>{2, 2.5, 3, 3.5, 4}));
  EXPECT_EQ(chart_ticks(-3, 3, 3), (std::vector<double>{-2, 0, 2}));
}

/// The points of the first line's path.
std::size_t points_in(const std::string& svg) {
  const std::size_t begin = svg.find("class=\"l0\" fill=\"none\"");
  const std::string path = svg.substr(begin, svg.find("/>", begin) - begin);
  return static_cast<std::size_t>(std::count(path.begin(), path.end(), 'L')) + 1;
}

TEST(LineChart, DrawsEachPointOfFewAndPiecesOfMany) {
  ChartLine line{"loss", {}};
  for (int i = 0; i < 10; ++i) line.points.push_back({static_cast<double>(i), 10.0 - i});
  const ChartOptions options{.title = "a<b", .x_label = "step", .y_label = "loss"};
  const std::string few = line_chart(std::span(&line, 1), options);
  EXPECT_EQ(points_in(few), 10U);
  EXPECT_EQ(few.find("fill-opacity"), std::string::npos);
  EXPECT_NE(few.find("a&lt;b"), std::string::npos);
  EXPECT_NE(few.find("loss, last 1"), std::string::npos);
  for (int i = 10; i < 100'000; ++i) line.points.push_back({static_cast<double>(i), 10.0 + i % 7});
  const std::string many = line_chart(std::span(&line, 1), options);
  EXPECT_EQ(points_in(many), 300U);
  EXPECT_NE(many.find("fill-opacity"), std::string::npos);
  EXPECT_LT(many.size(), 30'000U);
}

TEST(LineChart, LogarithmicAxesLeaveOutWhatHasNone) {
  const std::vector<ChartLine> lines = {{"a", {{1, 1000}, {2, 0}, {3, -1}, {4, 1}}}, {"b", {}}};
  const std::string svg = line_chart(lines, {.title = "", .x_label = "", .y_label = "y", .log_y = true});
  EXPECT_EQ(points_in(svg), 2U);
  EXPECT_NE(svg.find(">500</text>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(LineChart, OnePointAndNoneAreAPictureToo) {
  for (const auto& points : {std::vector<ChartPoint>{{5, 2}}, std::vector<ChartPoint>{}}) {
    const ChartLine line{"loss", points};
    const std::string svg = line_chart(std::span(&line, 1), {.title = "t", .x_label = "x", .y_label = "y"});
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
  }
}

}  // namespace
}  // namespace tw::cli
