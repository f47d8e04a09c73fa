#include "kernels/ref/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"

namespace tw::kernels {
namespace {

/// The sums of tests/golden/dequant/float16.json: made by numpy.
std::uint64_t golden_sum(const char* name) {
  const auto text = base::read_file(TW_SOURCE_DIR "/tests/golden/dequant/float16.json");
  if (!text.ok()) return 0;
  const auto json = base::parse_json(*text);
  return json.ok() && json->contains(name) ? (*json)[name].get<std::uint64_t>() : 0;
}

class WeightedSum {
 public:
  void add(std::uint64_t value) { sum_ += value * (2 * position_++ + 1); }
  std::uint64_t value() const { return sum_; }

 private:
  std::uint64_t sum_ = 0, position_ = 0;
};

/// The inputs of half_inputs() in tools/make_dequant_golden.py, made apart from the converters under test.
std::vector<std::uint32_t> rounding_inputs() {
  std::vector<float> halves;
  for (int exponent = 0; exponent < 31; ++exponent) {
    for (int fraction = 0; fraction < 1024; ++fraction) {
      halves.push_back(exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                     : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25));
    }
  }
  std::vector<std::uint32_t> near;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const float following = i + 1 < halves.size() ? halves[i + 1] : 65536.0F;
    const std::uint32_t middle = float_bits((halves[i] + following) / 2);
    near.insert(near.end(), {float_bits(halves[i]), middle - 1, middle, middle + 1});
  }
  std::vector<std::uint32_t> out = near;
  for (const std::uint32_t bits : near) out.push_back(bits | 0x80000000U);
  for (std::uint32_t i = 0; i < 1U << 20; ++i) out.push_back(i * 2654435761U);
  return out;
}

TEST(Float16Test, AllHalvesWidenAsInNumpy) {
  WeightedSum sum;
  for (std::uint32_t half = 0; half < 65536; ++half) {
    sum.add(float_bits(half_to_float(static_cast<std::uint16_t>(half))));
  }
  EXPECT_EQ(sum.value(), golden_sum("half_to_float"));
}

TEST(Float16Test, AllHalvesSurviveTheRoundTrip) {
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const bool nan = (half & 0x7FFF) > 0x7C00;
    const std::uint32_t expected = nan ? half | 0x0200 : half;
    ASSERT_EQ(float_to_half(half_to_float(static_cast<std::uint16_t>(half))), expected) << half;
  }
}

TEST(Float16Test, RoundsAsNumpyDoes) {
  const auto inputs = rounding_inputs();
  WeightedSum made, halves, bfloats;
  for (const std::uint32_t bits : inputs) {
    made.add(bits);
    const std::uint16_t half = float_to_half(bits_float(bits));
    const bool nan = (half & 0x7FFF) > 0x7C00;
    halves.add(nan ? half & 0xFE00 : half);
    bfloats.add(float_to_bfloat16(bits_float(bits)));
  }
  ASSERT_EQ(made.value(), golden_sum("inputs"));
  EXPECT_EQ(halves.value(), golden_sum("float_to_half"));
  EXPECT_EQ(bfloats.value(), golden_sum("float_to_bfloat16"));
}

TEST(Float16Test, KnownValues) {
  EXPECT_EQ(half_to_float(0x3C00), 1.0F);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24F);
  EXPECT_EQ(half_to_float(0xFBFF), -65504.0F);
  EXPECT_EQ(float_to_half(65519.996F), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_half(-0.0F), 0x8000);
  EXPECT_EQ(float_to_half(0x1p-25F), 0x0000);  // a tie: to even
  EXPECT_EQ(float_to_half(std::nextafter(0x1p-25F, 1.0F)), 0x0001);
  EXPECT_EQ(float_bits(half_to_float(0x7C01)), 0x7FC02000U);
  EXPECT_EQ(float_to_half(bits_float(0xFF800001U)), 0xFE00);
  EXPECT_EQ(float_to_bfloat16(bits_float(0x7F800001U)), 0x7FC0);
  EXPECT_EQ(float_to_bfloat16(bits_float(0x3F808000U)), 0x3F80);  // a tie: to even
  EXPECT_EQ(float_to_bfloat16(bits_float(0x3F818000U)), 0x3F82);
}

}  // namespace
}  // namespace tw::kernels
