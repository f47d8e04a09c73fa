#include "kernels/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/table.h"

namespace tw::kernels {
namespace {

TEST(Probe, GivesPossibleNumbers) {
  const Ceilings ceilings = probe_ceilings(2, 0);
  EXPECT_TRUE(std::isfinite(ceilings.bytes_per_second));
  EXPECT_GT(ceilings.bytes_per_second, 1e7);
  EXPECT_LT(ceilings.bytes_per_second, 1e13);
  ASSERT_FALSE(ceilings.peaks.empty());
  for (const Ceilings::Peak& peak : ceilings.peaks) {
    EXPECT_FALSE(peak.name.empty());
    EXPECT_GT(peak.flops_per_second, 1e7) << peak.name;
    EXPECT_LT(peak.flops_per_second, 1e15) << peak.name;
    EXPECT_LE(peak.flops_per_second, ceilings.best("").flops_per_second);
  }
  EXPECT_NE(ceilings.best("fp32").name.find("fp32"), std::string::npos);
}

TEST(Probe, EveryReadLoopReadsEverything) {
  struct alignas(64) Line {
    std::uint64_t words[8];
  };
  std::vector<Line> lines(64);
  std::uint64_t sum = 0, next = 1;
  for (Line& line : lines) {
    for (std::uint64_t& word : line.words)
      sum += word = next = next * 6364136223846793005ULL + 1442695040888963407ULL;
  }
  for (const std::string& set : available_sets(detect_features())) {
    const Table table = make_table(set, detect_features()).value();
    for (const std::int64_t prefetch : {0, 1024}) {
      EXPECT_EQ(table.read_sum({reinterpret_cast<const std::uint8_t*>(lines.data()), 64 * 64, prefetch}), sum)
          << set;
    }
  }
}

TEST(Probe, EveryWayMultiplies) {
  alignas(64) std::uint8_t data[kPeakBytes];
  alignas(64) float values[kPeakBytes / 4];
  for (int i = 0; i < kPeakBytes; ++i) data[i] = static_cast<std::uint8_t>(i * 7 + 1);
  for (float& value : values) value = 0.5F;
  for (const std::string& set : available_sets(detect_features())) {
    const Table table = make_table(set, detect_features()).value();
    int ways = 0;
    for (;; ++ways) {
      const PeakResult once = table.peak({ways, data, values, 16}),
                       twice = table.peak({ways, data, values, 32});
      if (once.name == nullptr) break;
      EXPECT_GT(once.flops, 0);
      EXPECT_DOUBLE_EQ(twice.flops, 2 * once.flops) << once.name;
      EXPECT_NE(once.sum, 0) << once.name;
      EXPECT_NEAR(twice.sum, 2 * once.sum, 1e-4 * std::fabs(once.sum)) << "each round adds the same";
    }
    EXPECT_GT(ways, 0) << set;
  }
}

}  // namespace
}  // namespace tw::kernels
