// Products of sides as they lie, of every set that this machine has, against their definition in double
// precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/avx512/avx512.h"
#include "kernels/test_product.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kBefore = 3;  ///< columns of wider matrices that lie before those in use

struct Sides {
  std::int64_t rows, n, k;
  DType type;
  bool turned;
  std::vector<float> x, bias, residual;
  std::vector<std::uint8_t> weights;

  Sides(std::int64_t rows_, std::int64_t n_, std::int64_t k_, DType type_, bool turned_)
      : rows(rows_),
        n(n_),
        k(k_),
        type(type_),
        turned(turned_),
        x(normal(turned_ ? k_ * x_stride() : rows_ * x_stride(), 1)),
        bias(normal(n_, 2)),
        residual(normal(rows_ * (n_ + kBefore), 3)),
        weights(random_weights(type_, k_, n_ + kBefore, 4)) {}
  std::int64_t x_stride() const { return (turned ? rows : k) + 1; }

  double at(std::int64_t t, std::int64_t l) const {
    return turned ? x[l * x_stride() + t] : x[t * x_stride() + l];
  }
  /// With bias and residual, and how large the terms are.
  std::pair<double, double> wanted(std::int64_t t, std::int64_t column) const {
    double sum = bias[column] + residual[t * (n + kBefore) + column], size = std::fabs(sum);
    for (std::int64_t l = 0; l < k; ++l) {
      float weight;
      dequantize_row(type, weights.data() + base::row_bytes(type, l * (n + kBefore) + column), &weight, 1);
      sum += at(t, l) * weight, size += std::fabs(at(t, l) * weight);
    }
    return {sum, size};
  }
  /// Columns [begin, end), into rows [0, some) of `out`, whose rows lie as residual's.
  void run(const GradientMatmul& matmul, std::int64_t some, std::int64_t begin, std::int64_t end,
           std::vector<float>& out) const {
    Bytes scratch;
    scratch.resize(matmul.scratch_bytes);
    matmul.run({{type, weights.data(), begin, end, n, k, x.data(), some, out.data(), n + kBefore, bias.data(),
                 residual.data(), scratch.data()},
                turned,
                x_stride(),
                n + kBefore});
  }
};

using Case = std::tuple<std::string, DType, bool>;  ///< the set, the weights, a turned x

std::vector<std::string> sets() {
  std::vector<std::string> names = available_sets(detect_features());
#ifdef TW_HAVE_EMULATED
  if (std::find(names.begin(), names.end(), "avx2") != names.end()) names.emplace_back("avx512 emulated");
#endif
  return names;
}

class GradientProduct : public testing::TestWithParam<Case> {
 protected:
  static Table table() {
    const std::string& set = std::get<0>(GetParam());
#ifdef TW_HAVE_EMULATED
    if (set == "avx512 emulated") {
      Table table = make_table("avx2", detect_features()).value();
      emulated::avx512_float_product_slots(table);
      return table;
    }
#endif
    return make_table(set, detect_features()).value();
  }
  const Table table_ = table();
  const GradientMatmul& matmul_ = *table_.gradient_matmul;
  Sides sides(std::int64_t rows, std::int64_t n, std::int64_t k) const {
    return {rows, n, k, std::get<1>(GetParam()), std::get<2>(GetParam())};
  }
};

TEST_P(GradientProduct, IsItsDefinition) {
  // Tiles of 6 and 12 rows, strips of 16 and 32 columns, stretches of 128 and 256; parts of 192 rows and
  // 2,048.
  constexpr std::int64_t kSizes[][3] = {{1, 1, 1},      {6, 16, 8},    {5, 17, 9},
                                        {7, 31, 7},     {12, 32, 128}, {13, 33, 129},
                                        {192, 16, 256}, {199, 5, 257}, {30, 40, 2100}};
  for (const auto& [rows, n, k] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << " x " << n << ", " << k << " deep");
    const Sides s = sides(rows, n, k);
    std::vector<float> out(rows * (n + kBefore), -7);
    s.run(matmul_, rows, 0, n, out);
    for (std::int64_t t = 0; t < rows; ++t) {
      for (std::int64_t column = 0; column < n; ++column) {
        const auto [sum, size] = s.wanted(t, column);
        ASSERT_NEAR(out[t * (n + kBefore) + column], sum, 2e-6 * size) << t << ", " << column;
      }
      for (std::int64_t column = n; column < n + kBefore; ++column)
        ASSERT_EQ(out[t * (n + kBefore) + column], -7) << "behind row " << t;
    }
  }
}

TEST_P(GradientProduct, BitsDoNotDependOnCompanyOrCuts) {
  const std::int64_t rows = 200, n = 72, k = 300, some = 17;
  const Sides s = sides(rows, n, k);
  const std::size_t size = rows * (n + kBefore);
  std::vector<float> all(size), few(size), cut(size);
  s.run(matmul_, rows, 0, n, all);
  s.run(matmul_, some, 0, n, few);
  const std::int64_t middle =
      (n / 2 + matmul_.slice_columns - 1) / matmul_.slice_columns * matmul_.slice_columns;
  s.run(matmul_, rows, 0, middle, cut);
  s.run(matmul_, rows, middle, n, cut);
  EXPECT_EQ(all, cut);
  few.resize(some * (n + kBefore)), all.resize(few.size());
  EXPECT_EQ(all, few);
}

INSTANTIATE_TEST_SUITE_P(Sets, GradientProduct,
                         testing::Combine(testing::ValuesIn(sets()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                                          testing::Bool()),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_" +
                                              std::string(base::dtype_name(std::get<1>(info.param))) +
                                              (std::get<2>(info.param) ? "_turned" : "");
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace tw::kernels
