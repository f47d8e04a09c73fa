#include "kernels/ref/dequantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/mmap.h"
#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

using base::DType;

constexpr DType kQuantized[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr DType kEncoded[] = {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1};

std::string golden(const std::string& name) {
  auto text = base::read_file(TW_SOURCE_DIR "/tests/golden/dequant/" + name);
  EXPECT_TRUE(text.ok()) << (text.ok() ? "" : text.error().text());
  return text.ok() ? std::move(text).value() : std::string();
}

std::vector<float> golden_floats(const std::string& name) {
  const std::string bytes = golden(name);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

class DequantizeTest : public testing::TestWithParam<DType> {};

TEST_P(DequantizeTest, EqualsReferenceBitForBit) {
  const std::string name(base::dtype_name(GetParam()));
  const std::string blocks = golden(name + ".blocks");
  const std::vector<float> expected = golden_floats(name + ".f32");
  const auto n = static_cast<std::int64_t>(expected.size());
  ASSERT_GE(n, 1024);
  ASSERT_EQ(blocks.size(), base::row_bytes(GetParam(), n));
  std::vector<float> values(expected.size(), -1.0F);
  dequantize_row(GetParam(), blocks.data(), values.data(), n);
  int finite = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(values[i])) << "value " << i;
    } else {
      ASSERT_EQ(float_bits(values[i]), float_bits(expected[i])) << "value " << i;
    }
    if (std::isfinite(expected[i])) ++finite;
  }
  EXPECT_GT(finite, n / 2);
}

TEST_P(DequantizeTest, ReadsUnalignedRows) {
  const std::string name(base::dtype_name(GetParam()));
  const std::string blocks = golden(name + ".blocks");
  const std::int64_t n = base::dtype_info(GetParam()).block_elements;
  const std::string shifted = "x" + blocks;
  std::vector<float> values(static_cast<std::size_t>(n)), moved(values.size());
  dequantize_row(GetParam(), blocks.data(), values.data(), n);
  dequantize_row(GetParam(), shifted.data() + 1, moved.data(), n);
  EXPECT_EQ(std::memcmp(values.data(), moved.data(), values.size() * sizeof(float)), 0);
}

std::string name_of(const testing::TestParamInfo<DType>& info) {
  return std::string(base::dtype_name(info.param));
}

INSTANTIATE_TEST_SUITE_P(Types, DequantizeTest, testing::ValuesIn(kQuantized), name_of);

class QuantizeTest : public testing::TestWithParam<DType> {};

TEST_P(QuantizeTest, EqualsReferenceByteForByte) {
  const std::string expected = golden("rows." + std::string(base::dtype_name(GetParam())));
  const std::vector<float> rows = golden_floats("rows.f32");
  const auto n = static_cast<std::int64_t>(rows.size());
  ASSERT_EQ(expected.size(), base::row_bytes(GetParam(), n));
  std::string bytes(expected.size(), '\xAA');
  ASSERT_TRUE(quantize_row(GetParam(), rows.data(), bytes.data(), n));
  for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], expected[i]) << "byte " << i;
}

TEST_P(QuantizeTest, DecodesToWithinHalfAStep) {
  const std::vector<float> rows = golden_floats("rows.f32");
  std::string bytes(base::row_bytes(GetParam(), 32), '\0');
  std::vector<float> decoded(32);
  for (std::size_t row = 0; row + 32 <= rows.size(); row += 32) {
    ASSERT_TRUE(quantize_row(GetParam(), rows.data() + row, bytes.data(), 32));
    dequantize_row(GetParam(), bytes.data(), decoded.data(), 32);
    float largest = 0;
    for (std::size_t i = 0; i < 32; ++i) largest = std::fmax(largest, std::fabs(rows[row + i]));
    // The coarsest step is that of Q4_0, a 1/8 of the largest value, of which +8 is cut to +7; tiny rows
    // vanish in fp16 scales.
    for (std::size_t i = 0; i < 32; ++i) ASSERT_NEAR(decoded[i], rows[row + i], largest * 0.13 + 4e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizeTest, testing::ValuesIn(kEncoded), name_of);

TEST(QuantizeRowTest, SurvivesValuesTooSmallForAScale) {
  std::vector<float> tiny(32, 1e-42F), decoded(32, 1.0F);
  for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
    std::string bytes(base::row_bytes(type, 32), '\0');
    ASSERT_TRUE(quantize_row(type, tiny.data(), bytes.data(), 32));
    dequantize_row(type, bytes.data(), decoded.data(), 32);
    for (const float value : decoded) EXPECT_EQ(value, 0.0F);
  }
}

TEST(QuantizeRowTest, RefusesTypesItCannotEncode) {
  const std::vector<float> row(256, 1.0F);
  std::string bytes(1024, 'x');
  EXPECT_FALSE(quantize_row(DType::kQ6_K, row.data(), bytes.data(), 256));
  EXPECT_EQ(bytes, std::string(1024, 'x'));
}

TEST(DequantizeRowTest, CopiesF32AndWidensBF16) {
  const std::vector<float> row = {1.0F, -0.0F, 3.5F, 1e-40F};
  std::vector<float> out(4);
  dequantize_row(DType::kF32, row.data(), out.data(), 4);
  EXPECT_EQ(std::memcmp(row.data(), out.data(), sizeof(float) * 4), 0);
  const std::uint16_t bf16[] = {0x3F80, 0x8000, 0xC060, 0x0001};
  dequantize_row(DType::kBF16, bf16, out.data(), 4);
  EXPECT_EQ(out[0], 1.0F);
  EXPECT_TRUE(std::signbit(out[1]));
  EXPECT_EQ(out[2], -3.5F);
  EXPECT_EQ(float_bits(out[3]), 0x00010000U);
}

TEST(DequantizeRowTest, LooksUpPalettes) {
  std::uint16_t tables[2][16];
  for (int i = 0; i < 32; ++i) tables[i / 16][i % 16] = float_to_half(static_cast<float>(i));
  const std::uint8_t codes[] = {0x21, 0xF0};
  std::vector<float> out(8);
  EXPECT_EQ(palette_of_row(DType::kPalette4, tables, 15), tables[0]);
  dequantize_row(DType::kPalette4, codes, out.data(), 4, palette_of_row(DType::kPalette4, tables, 16));
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 4), (std::vector<float>{17, 18, 16, 31}));
  dequantize_row(DType::kPalette2, codes, out.data(), 8, palette_of_row(DType::kPalette2, tables, 33));
  EXPECT_EQ(out, (std::vector<float>{9, 8, 10, 8, 8, 8, 11, 11})) << "the third table of four";
  EXPECT_EQ(palette_of_row(DType::kF32, tables, 20), nullptr);
}

}  // namespace
}  // namespace tw::kernels
