#include "kernels/ref/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"

namespace tw::kernels {
namespace {

using base::DType;

constexpr std::int64_t kValues = 1 << 15;

/// About normal, of variance 1, and the same numbers with every standard library.
std::vector<float> normal_values() {
  std::mt19937 random(7);
  std::vector<float> values;
  for (std::int64_t i = 0; i < kValues; ++i) {
    double sum = -6;
    for (int k = 0; k < 12; ++k) sum += static_cast<double>(random()) / 4294967296.0;
    values.push_back(static_cast<float>(sum));
  }
  return values;
}

std::vector<float> through(DType type, const std::vector<float>& values, const float* importance = nullptr) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::string row(base::row_bytes(type, n), '\x55');
  EXPECT_TRUE(quantize_row_closely(type, values.data(), importance, row.data(), n));
  std::vector<float> decoded(values.size(), NAN);
  dequantize_row(type, row.data(), decoded.data(), n);
  return decoded;
}

double error(const std::vector<float>& a, const std::vector<float>& b, const float* weights = nullptr) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double miss = static_cast<double>(a[i]) - b[i];
    sum += (weights == nullptr ? 1.0 : static_cast<double>(weights[i])) * miss * miss;
  }
  return sum / static_cast<double>(a.size());
}

struct Peer {
  DType type;
  double error;  ///< of normal_values() by llama.cpp's ggml_quantize_chunk without importances, rows of 256
};

constexpr Peer kPeers[] = {
    {DType::kQ8_0, 2.8306e-05}, {DType::kQ4_0, 7.2531e-03}, {DType::kQ4_1, 6.1053e-03},
    {DType::kQ5_0, 1.7855e-03}, {DType::kQ5_1, 1.4212e-03}, {DType::kQ2_K, 8.6577e-02},
    {DType::kQ3_K, 2.2498e-02}, {DType::kQ4_K, 5.0664e-03}, {DType::kQ5_K, 1.2841e-03},
    {DType::kQ6_K, 3.0878e-04},
};

class QuantizeClosely : public testing::TestWithParam<Peer> {};

TEST_P(QuantizeClosely, IsNoFurtherAwayThanLlamaCpp) {
  const std::vector<float> values = normal_values();
  const double ours = error(values, through(GetParam().type, values));
  std::printf("mean squared error %.4e, llama.cpp %.4e\n", ours, GetParam().error);
  EXPECT_LE(ours, GetParam().error);
  EXPECT_GE(ours, GetParam().error / 2) << "too good to be true";
}

TEST_P(QuantizeClosely, ImportantValuesAreCloser) {
  const std::vector<float> values = normal_values();
  std::vector<float> importance;
  for (std::int64_t i = 0; i < kValues; ++i) importance.push_back(i % 7 == 0 ? 100.0F : 1.0F);
  const double with = error(values, through(GetParam().type, values, importance.data()), importance.data());
  const double without = error(values, through(GetParam().type, values), importance.data());
  EXPECT_LT(with, 0.9 * without);
}

TEST_P(QuantizeClosely, ScalingTheInputScalesTheOutput) {
  const std::vector<float> values = normal_values();
  std::vector<float> small;
  for (const float value : values) small.push_back(std::ldexp(value, -5));
  const double relative = std::ldexp(error(small, through(GetParam().type, small)), 10);
  // Not equal: scales of small values are subnormal in fp16.
  EXPECT_NEAR(relative, error(values, through(GetParam().type, values)), 0.05 * GetParam().error);
}

TEST_P(QuantizeClosely, OddBlocksStayFinite) {
  std::vector<float> zeros(256, 0.0F), constant(256, 0.37F), spike(256, 0.0F), tiny(256, 1e-42F),
      huge(256, 1e30F), negative(256, -2.0F), none(256, 0.0F);
  spike[77] = -3.0F;
  for (int i = 0; i < 256; i += 2) huge[static_cast<std::size_t>(i)] = -3e38F;
  for (const auto* values : {&zeros, &constant, &spike, &tiny, &huge, &negative}) {
    for (const float value : through(GetParam().type, *values)) EXPECT_TRUE(std::isfinite(value));
    for (const float value : through(GetParam().type, *values, none.data()))
      EXPECT_TRUE(std::isfinite(value));
  }
  EXPECT_EQ(error(zeros, through(GetParam().type, zeros)), 0);
  EXPECT_LT(error(constant, through(GetParam().type, constant)), 1e-7);
  EXPECT_LT(error(negative, through(GetParam().type, negative)), 1e-5);
  EXPECT_LT(error(spike, through(GetParam().type, spike)), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizeClosely, testing::ValuesIn(kPeers),
                         [](const auto& info) { return std::string(base::dtype_name(info.param.type)); });

TEST(QuantizeCloselyTest, PlainTypesAreRoundedAndOthersRefused) {
  const std::vector<float> values = normal_values();
  EXPECT_EQ(through(DType::kF32, values), values);
  EXPECT_LT(error(values, through(DType::kF16, values)), 1e-7);
  std::uint8_t row[64] = {};
  EXPECT_FALSE(quantize_row_closely(DType::kI8, values.data(), nullptr, row, 32));
}

}  // namespace
}  // namespace tw::kernels
