// Every kernel of every set this machine has against the reference set, over odd sizes; and the rule that a
// row's bits do not depend on how many rows run together or how the columns are cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>
#include <tuple>

#include "base/dtype.h"
#include "kernels/avx512/avx512.h"
#include "kernels/ref/dequantize.h"
#include "kernels/table.h"
#include "kernels/test_product.h"

namespace tw::kernels {
namespace {

/// sum_k |x w| of each output: what rounding errors are measured against.
std::vector<double> magnitudes(DType type, const std::vector<std::uint8_t>& weights,
                               const std::vector<float>& x, std::int64_t rows, std::int64_t n,
                               std::int64_t k) {
  std::vector<double> result(rows * n);
  std::vector<float> row(k);
  for (std::int64_t j = 0; j < n; ++j) {
    dequantize_row(type, weights.data() + j * base::row_bytes(type, k), row.data(), k,
                   palette_of_row(type, palettes_of(type, weights, n, k), j));
    for (std::int64_t t = 0; t < rows; ++t) {
      for (std::int64_t i = 0; i < k; ++i)
        result[t * n + j] += std::fabs(static_cast<double>(x[t * k + i]) * row[i]);
    }
  }
  return result;
}

#ifdef TW_HAVE_EMULATED
/// The sets this processor may lack, on imitated instructions. Only their products: the rest is the AVX2
/// set's.
const std::pair<std::string, void (*)(KernelSlots&)> kEmulated[] = {
    {"avx512 emulated", emulated::avx512_matmul_slots},
    {"avx512vnni emulated", emulated::avx512vnni_matmul_slots},
    {"avxvnni emulated", emulated::avxvnni_matmul_slots}};
#endif

std::vector<std::string> product_sets() {
  std::vector<std::string> names = available_sets(detect_features());
#ifdef TW_HAVE_EMULATED
  if (std::find(names.begin(), names.end(), "avx2") != names.end()) {
    for (const auto& [name, fill] : kEmulated) names.push_back(name);
  }
#endif
  return names;
}

Table product_table(const std::string& set) {
#ifdef TW_HAVE_EMULATED
  for (const auto& [name, fill] : kEmulated) {
    if (set != name) continue;
    Table table = make_table("avx2", detect_features()).value();
    fill(table);
    if (set.starts_with("avx512")) {
      emulated::avx512_palette_slots(table);
      emulated::avx512_float_product_slots(table);
    }
    return table;
  }
#endif
  if (set == kInt8Prompts) return int8_prompts_table();
  return make_table(set, detect_features()).value();
}

using Case = std::tuple<std::string, DType, bool>;  ///< the set, the weights, prompts or generated tokens

class Matmul : public ::testing::TestWithParam<Case> {
 protected:
  const Table table_ = product_table(std::get<0>(GetParam()));
  const Table reference_ = make_table("ref", detect_features()).value();
  const DType type_ = std::get<1>(GetParam());
  const bool prompt_ = std::get<2>(GetParam());
  const std::int64_t block_ = base::dtype_info(type_).block_elements;

  /// Byte tiles take activations of 12 bits with nibbles of one scale for 32 (panels.h).
  bool narrow() const {
    const bool joined = type_ == DType::kQ4_0 || type_ == DType::kQ4_1 || type_ == DType::kQ4_K;
    return std::get<0>(GetParam()) == "amx" && joined;
  }
  bool rounded() const { return std::get<0>(GetParam()) == kInt8Prompts; }
};

TEST_P(Matmul, EqualsTheReference) {
  // What has small blocks is filled up to whole ones.
  std::vector<std::int64_t> widths = {block_ < 32 ? 37 / block_ * block_ : block_,
                                      block_ < 32 ? 100 : 3 * block_, 768};
  // Several stretches of bytes, and where blocks allow it half a last tile.
  if (rounded()) widths.insert(widths.end(), {block_ == 256 ? 1536 : 1312, block_ == 256 ? 2816 : 2592});
  for (const std::int64_t k : widths) {
    for (const std::int64_t n : {1, 7, 8, 9, 16, 31}) {
      for (const std::int64_t rows : {1, 3, 4, 9, 37}) {
        const auto weights = random_weights(type_, n, k, static_cast<unsigned>(n + k));
        const auto x = normal(rows * k, 7), bias = normal(n, 8), residual = normal(rows * n, 9);
        const auto got =
            Product(table_, type_, weights, n, k, prompt_).run(x, rows, bias.data(), residual.data());
        const auto expected =
            Product(reference_, type_, weights, n, k, prompt_).run(x, rows, bias.data(), residual.data());
        const auto scale = magnitudes(type_, weights, x, rows, n, k);
        // Activations of 15 bits are off by at most 1/65278 of the largest of 32, a few times a typical one,
        // those of 12 bits by 1/4078; fp32 sums by less. Bias and residual add one rounding each. In bf16
        // weights and activations are each off by at most 1/512, in 8 bits by 1/254 and 1/127 of the largest
        // of a stretch.
        const MatmulPath* prefill = table_.prefill[static_cast<int>(type_)];
        const bool bf16 = prompt_ && prefill != nullptr && prefill->bf16;
        const double bound = rounded() ? 1e-2 : bf16 ? 4e-3 : narrow() ? 6e-4 : 5e-5;
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], expected[i], bound * scale[i] + 1e-5)
              << "k " << k << " n " << n << " rows " << rows << " at " << i;
        }
      }
    }
  }
}

/// What decoding reads is what its time goes into.
TEST_P(Matmul, PackedWeightsAreHardlyLargerThanTheFile) {
  const std::int64_t n = 48, k = 768;
  const MatmulKernel& kernel = *table_.matmul[static_cast<int>(type_)];
  if (kernel.packed_bytes == nullptr) return;  // read as they lie in the file
  const auto file = static_cast<double>(n) * static_cast<double>(base::row_bytes(type_, k));
  // Q2_K's and Q3_K's scales have 4 and 6 bits in the file, and 8 in panels.
  const double most = type_ == DType::kQ2_K ? 1.2 : type_ == DType::kPalette2 ? 1.12 : 1.04;
  EXPECT_LE(static_cast<double>(kernel.packed_bytes(type_, n, k)), most * file);
}

TEST_P(Matmul, BitsDoNotDependOnCompanyOrCuts) {
  const std::int64_t k = 512, n = 40, rows = 35;
  const auto weights = random_weights(type_, n, k, 3);
  const auto x = normal(rows * k, 4);
  Product product(table_, type_, weights, n, k, prompt_);
  const auto together = product.run(x, rows, nullptr, nullptr);
  std::vector<float> cut(rows * n, NAN);
  const std::int64_t middle =
      (n / 2 + product.slice_rows() - 1) / product.slice_rows() * product.slice_rows();
  product.run_columns(x, rows, 0, middle, nullptr, nullptr, cut.data());
  product.run_columns(x, rows, middle, n, nullptr, nullptr, cut.data());
  EXPECT_EQ(together, cut);
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::vector<float> row(x.begin() + t * k, x.begin() + (t + 1) * k);
    const auto alone = product.run(row, 1, nullptr, nullptr);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + t * n)) << "row " << t;
  }
}

/// Of more rows than a step of a server has: their results may go past the caches.
TEST_P(Matmul, BitsDoNotDependOnManyRows) {
  const std::int64_t rows = 530;
  for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{40, 256}, {64, 256}, {40, 1536}}) {
    if (k % block_ != 0) continue;
    const auto weights = random_weights(type_, n, k, 3);
    const auto x = normal(rows * k, 4);
    Product product(table_, type_, weights, n, k, prompt_);
    const auto together = product.run(x, rows, nullptr, nullptr);
    for (std::int64_t t = 0; t < rows; t += 265) {
      const std::vector<float> half(x.begin() + t * k, x.begin() + (t + 265) * k);
      const auto alone = product.run(half, 265, nullptr, nullptr);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + t * n)) << n << ", row " << t;
    }
  }
}

TEST_P(Matmul, ZeroAndHugeActivationsStayFinite) {
  const std::int64_t k = 256, n = 9;
  const auto weights = random_weights(type_, n, k, 5);
  std::vector<float> x(2 * k, 0.0F);
  for (std::int64_t i = k; i < 2 * k; ++i) x[i] = i % 2 ? 1e30F : -1e-30F;
  for (const float y : Product(table_, type_, weights, n, k, prompt_).run(x, 2, nullptr, nullptr))
    EXPECT_TRUE(std::isfinite(y));
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  std::string set = std::get<0>(info.param);
  std::replace(set.begin(), set.end(), ' ', '_');
  return set + "_" + std::string(base::dtype_name(std::get<1>(info.param))) +
         (std::get<2>(info.param) ? "_prefill" : "_decode");
}

/// None where this processor has no such products.
std::vector<Case> int8_cases() {
  std::vector<Case> cases;
  const Table table = make_table("", detect_features()).value();
  for (const DType type : kWeightTypes) {
    if (table.int8_prefill[static_cast<int>(type)] != nullptr) cases.emplace_back(kInt8Prompts, type, true);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Sets, Matmul,
                         ::testing::Combine(::testing::ValuesIn(product_sets()),
                                            ::testing::ValuesIn(kWeightTypes), ::testing::Bool()),
                         case_name);

INSTANTIATE_TEST_SUITE_P(Int8Prompts, Matmul, ::testing::ValuesIn(int8_cases()), case_name);

/// What is no number stays seen: nothing of it is rounded to one.
TEST(Int8Prompts, DamageIsNotRoundedAway) {
  const Table table = int8_prompts_table();
  if (!table.has_int8_prompts()) GTEST_SKIP() << "no kernel set of this processor has such products";
  const std::int64_t k = 1536, n = 16;
  for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    auto weights = random_weights(type, n, k, 5);
    const auto plain = normal(k, 6);
    for (const float wrong : {NAN, INFINITY, -INFINITY}) {
      auto x = plain;
      x[3] = wrong;
      for (const float y : Product(table, type, weights, n, k, true).run(x, 1, nullptr, nullptr))
        EXPECT_FALSE(std::isfinite(y));
    }
    // The scale of the third row's first block; of a Q6_K it is the last of its bytes.
    const std::int64_t at = 2 * base::row_bytes(type, k) + (type == DType::kQ6_K ? 208 : 0);
    for (const float wrong : {NAN, INFINITY}) {
      quantize_row(DType::kF16, &wrong, weights.data() + at, 1);
      const auto got = Product(table, type, weights, n, k, true).run(plain, 1, nullptr, nullptr);
      for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(std::isfinite(got[i]), i != 2) << wrong << " at " << i;
    }
  }
}

/// Palettes mean the numbers in their tables: products are those with the same numbers in F16, of prompts by
/// tiles to the bit.
TEST(Palettes, MultiplyAsTheirNumbersDo) {
  const std::int64_t n = 40, k = 100, rows = 19;
  const auto x = normal(rows * k, 4);
  for (const std::string& set : product_sets()) {
    const Table table = product_table(set);
    for (const DType type : {DType::kPalette4, DType::kPalette2}) {
      const auto weights = random_weights(type, n, k, 6);
      std::vector<std::uint8_t> halves(base::row_bytes(DType::kF16, k) * n);
      std::vector<float> row(k);
      for (std::int64_t j = 0; j < n; ++j) {
        dequantize_row(type, weights.data() + j * base::row_bytes(type, k), row.data(), k,
                       palette_of_row(type, palettes_of(type, weights, n, k), j));
        quantize_row(DType::kF16, row.data(), halves.data() + j * base::row_bytes(DType::kF16, k), k);
      }
      for (const bool prompt : {false, true}) {
        const auto got = Product(table, type, weights, n, k, prompt).run(x, rows, nullptr, nullptr),
                   expected =
                       Product(table, DType::kF16, halves, n, k, prompt).run(x, rows, nullptr, nullptr);
        const bool exact = set == "ref" || (prompt && set == "amx");
        const auto scale = magnitudes(type, weights, x, rows, n, k);
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], expected[i], exact ? 0 : 1e-6 * scale[i]) << set << " at " << i;
      }
    }
  }
}

class Rows : public ::testing::TestWithParam<std::string> {
 protected:
  const Table table_ = make_table(GetParam(), detect_features()).value();
  const Table reference_ = make_table("ref", detect_features()).value();
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

TEST_P(Rows, NormRotationAndActivationEqualTheReference) {
  for (const std::int64_t width : {1, 7, 8, 33, 576}) {
    const std::int64_t rows = 5;
    const auto x = normal(rows * width, 1), weight = normal(width, 2), up = normal(rows * width, 3);
    std::vector<float> a(x.size()), b(x.size());
    table_.rms_norm({x.data(), a.data(), weight.data(), 0, rows, width, width, 1e-5F});
    reference_.rms_norm({x.data(), b.data(), weight.data(), 0, rows, width, width, 1e-5F});
    EXPECT_LT(largest_difference(a, b), 1e-5);
    table_.silu_mul({x.data(), up.data(), a.data(), 0, rows, 0, width, width});
    reference_.silu_mul({x.data(), up.data(), b.data(), 0, rows, 0, width, width});
    EXPECT_LT(largest_difference(a, b), 1e-5);
    table_.gelu({x.data(), a.data(), 0, rows, 0, width, width});
    reference_.gelu({x.data(), b.data(), 0, rows, 0, width, width});
    EXPECT_LT(largest_difference(a, b), 1e-5);
    table_.layer_norm({x.data(), a.data(), weight.data(), up.data(), 0, rows, width, 1e-5F});
    reference_.layer_norm({x.data(), b.data(), weight.data(), up.data(), 0, rows, width, 1e-5F});
    EXPECT_LT(largest_difference(a, b), 1e-5);
  }
  for (const std::int64_t d : {2, 8, 12, 64, 80, 128}) {
    for (const bool interleaved : {false, true}) {
      const std::int64_t rows = 3, heads = 2;
      std::vector<float> a = normal(rows * heads * d, 4), b = a;
      std::vector<float> cos(rows * d / 2), sin(cos);
      for (std::size_t i = 0; i < cos.size(); ++i) {
        cos[i] = std::cos(static_cast<float>(i));
        sin[i] = std::sin(static_cast<float>(i));
      }
      table_.rope({a.data(), heads * d, cos.data(), sin.data(), 0, rows, heads, d, interleaved});
      reference_.rope({b.data(), heads * d, cos.data(), sin.data(), 0, rows, heads, d, interleaved});
      EXPECT_LT(largest_difference(a, b), 1e-5) << d;
    }
  }
}

TEST_P(Rows, ActivationsAreExactFarOut) {
  const std::vector<float> x = {-1000, -90, -87.4F, -20, -1e-8F, 0, 1e-8F, 20, 87.4F, 1000}, up(x.size(), 1);
  std::vector<float> out(x.size());
  const auto n = static_cast<std::int64_t>(x.size());
  table_.silu_mul({x.data(), up.data(), out.data(), 0, 1, 0, n, n});
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = x[i] / (1 + std::exp(-static_cast<double>(x[i])));
    EXPECT_NEAR(out[i], exact, 1e-6 * std::fabs(exact) + 1e-30) << x[i];
  }
  table_.gelu({x.data(), out.data(), 0, 1, 0, n, n});
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i], inner = std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v);
    const double exact = v / (1 + std::exp(-2 * inner));
    EXPECT_NEAR(out[i], exact, 1e-6 * std::fabs(exact) + 1e-30) << x[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, Rows, ::testing::ValuesIn(available_sets(detect_features())),
                         [](const auto& info) { return info.param; });

TEST(Dispatch, ForcesAndRefuses) {
  const CpuFeatures none{};
  EXPECT_EQ(available_sets(none), std::vector<std::string>{"ref"});
  EXPECT_EQ(make_table("", none).value().name, "ref");
  EXPECT_EQ(make_table("avx2", none).error().code, base::Code::kUnsupported);
  EXPECT_EQ(make_table("sse9", none).error().code, base::Code::kInvalidArgument);
  for (const std::string& set : available_sets(detect_features())) {
    const Table table = make_table(set, detect_features()).value();
    EXPECT_EQ(table.name, set);
    for (const DType type : kWeightTypes) {
      if (!base::is_quantized(type)) continue;  // may be the next lower set's
      const MatmulPath* prefill = table.prefill[static_cast<int>(type)];
      const std::string kernel =
          prefill != nullptr ? prefill->name : table.matmul[static_cast<int>(type)]->decode.name;
      EXPECT_EQ(kernel.substr(0, set.size()), set) << "the forced set really runs";
    }
  }
}

#if defined(__x86_64__)
TEST(Dispatch, ASetNeedsAllItsFeatures) {
  CpuFeatures f;
  f.avx2 = f.fma = true;
  EXPECT_EQ(available_sets(f), (std::vector<std::string>{"ref"})) << "f16c is missing";
  f.f16c = f.avx512f = f.avx512bw = f.avx512vl = true;
  EXPECT_EQ(available_sets(f), (std::vector<std::string>{"avx2", "ref"})) << "dq is missing";
  f.avx512dq = true;
  EXPECT_EQ(available_sets(f), (std::vector<std::string>{"avx512", "avx2", "ref"}));
  f.amx_bf16 = f.amx_int8 = f.avx512vnni = f.gfni = true;
  EXPECT_EQ(available_sets(f), (std::vector<std::string>{"avx512", "avx2", "ref"}))
      << "avx512bf16 is missing";
  f.avx512bf16 = true;
  EXPECT_EQ(available_sets(f), (std::vector<std::string>{"amx", "avx512", "avx2", "ref"}));
}

/// Features are only taken away here: filling in a table runs code of its set.
TEST(Dispatch, TakesDotProductsWhereTheProcessorHasThem) {
  const CpuFeatures real = detect_features();
  const auto kernel = [&](const char* set, const CpuFeatures& f) {
    return std::string(make_table(set, f).value().matmul[static_cast<int>(DType::kQ4_K)]->decode.name);
  };
  for (const bool dots : {false, true}) {
    CpuFeatures f = real;
    f.avxvnni = f.avxvnni && dots;
    f.avx512vnni = f.avx512vnni && dots;
    const auto expect = [&](const std::string& set, const char* name) {
      if (make_table(set, f).ok()) {
        EXPECT_EQ(kernel(set.c_str(), f), name);
      }
    };
    expect("avx2", f.avxvnni ? "avx2 vnni panels of 8, nibbles" : "avx2 panels of 8, nibbles");
    expect("avx512", f.avx512vnni ? "avx512 vnni panels of 16, nibbles" : "avx512 panels of 16, nibbles");
  }
}
#endif

}  // namespace
}  // namespace tw::kernels
