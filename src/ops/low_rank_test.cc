// What adapters add when serving: against its definition, and without any change to the rows of others.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "kernels/ref/float16.h"
#include "ops/ops.h"
#include "ops/test_definitions.h"
#include "ops/test_run.h"

namespace tw::ops {
namespace {

std::vector<float> normal(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0, 0.3F);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = distribution(generator);
  return values;
}

Numbers doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

/// [n, k] in fp32, or in bf16, where some sets have one kernel for a prompt's gated layer.
struct Matrix {
  std::vector<float> plain;
  std::vector<std::uint16_t> half;
  std::vector<std::byte> panels;
  PackedMatrix packed;

  Matrix(const kernels::Table& table, DType type, std::int64_t n, std::int64_t k, unsigned seed)
      : plain(normal(n * k, seed)) {
    for (float& value : plain) {
      half.push_back(kernels::float_to_bfloat16(value));
      if (type == DType::kBF16) value = kernels::bfloat16_to_float(half.back());
    }
    const kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
    panels.resize(PackedMatrix::packed_bytes(kernel, type, n, k));
    const void* source = type == DType::kBF16 ? static_cast<const void*>(half.data()) : plain.data();
    packed = PackedMatrix(kernel, type, source, n, k, panels);
    packed.pack_panels(0, packed.panels());
  }
};

/// Two adapters of other ranks on a feed-forward layer (the second not on gate), and rows: two generated and
/// 200 of prompts, of which some have one, some the other, some none.
class LowRankRows : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr std::int64_t kRows = 202, kGenerated = 2, kWidth = 64, kHidden = 96;
  const kernels::Table table_ = kernels::make_table(GetParam(), kernels::detect_features()).value();
  const bool bf16_ = table_.bf16_prompts();
  Trace trace_;
  std::vector<Matrix> matrices_;
  std::vector<std::vector<LowRank>> adapters_;
  std::vector<float> x_ = normal(kRows * kWidth, 1);
  const std::vector<float> residual_ = normal(kRows * kWidth, 2);

  void SetUp() override {
    const auto add = [&](std::int64_t n, std::int64_t k) {
      matrices_.emplace_back(table_, DType::kF32, n, k, 10 + static_cast<unsigned>(matrices_.size()));
    };
    matrices_.reserve(12);
    for (const std::int64_t rank : {4, 7}) {
      add(rank, kWidth), add(kHidden, rank), add(rank, kWidth), add(kHidden, rank), add(rank, kHidden),
          add(kWidth, rank);
      const Matrix* m = &matrices_[matrices_.size() - 6];
      adapters_.push_back({});
      for (int i = 0; i < 3; ++i)
        adapters_.back().push_back({&m[2 * i].packed, &m[2 * i + 1].packed, 0.5F * static_cast<float>(rank)});
    }
    adapters_[1][0] = {};
  }

  /// Rows [begin, end) by adapter: -1 none.
  std::vector<AdapterRun> runs() const {
    return {{1, 2, adapters_[0].data()},
            {30, 100, adapters_[1].data()},
            {100, 101, adapters_[0].data()},
            {150, 202, adapters_[0].data()}};
  }

  const Numbers& plain(const PackedMatrix* packed) {
    for (const Matrix& m : matrices_) {
      if (&m.packed == packed) return numbers_ = doubles(m.plain);
    }
    TW_CHECK(false, "one of the test's matrices");
    return numbers_;
  }
  /// What `low` adds to rows of x.
  Numbers added(const LowRank& low, const Numbers& x, std::int64_t n) {
    const std::int64_t rows = std::ssize(x) / (low.a == nullptr ? 1 : low.a->k());
    if (low.a == nullptr) return Numbers(std::ssize(x) / kWidth * n);
    const Numbers a = plain(low.a), b = plain(low.b);
    TW_CHECK(rows > 0, "rows");
    return low_rank(x, a, b, low.a->k(), low.scale);
  }

  std::vector<float> run(int workers, const std::function<Tensor(Exec&)>& op) {
    return run_on_workers(table_, workers, trace_, op, [] {});
  }

  Numbers numbers_;
};

TEST_P(LowRankRows, GatedFfnAddsToRowsThatHaveOne) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const Matrix gate(table_, type, kHidden, kWidth, 3), up(table_, type, kHidden, kWidth, 4),
        down(table_, type, kWidth, kHidden, 5);
    const auto op = [&](const std::vector<AdapterRun>& with, std::int64_t generated) {
      return [&, with, generated](Exec& ex) {
        const Tensor x{DType::kF32, {kRows, kWidth}, x_.data()}, out = ex.temporary({kRows, kWidth});
        const Tensor r{DType::kF32, {kRows, kWidth}, const_cast<float*>(residual_.data())};
        gated_ffn(ex, x, gate.packed, up.packed, down.packed, generated, r, out, {with, 0});
        return out;
      };
    };
    const std::vector<float> base = run(2, op({}, kGenerated)), adapted = run(1, op(runs(), kGenerated));
    std::vector<bool> has(kRows);
    for (const AdapterRun& r : runs()) {
      for (std::int64_t row = r.begin; row < r.end; ++row) {
        has[row] = true;
        const std::vector<float> mine(&x_[row * kWidth], &x_[row * kWidth] + kWidth);
        const Numbers x = doubles(mine);
        const Numbers hidden =
            gated(plus(times(x, doubles(gate.plain), kWidth), added(r.linears[0], x, kHidden)),
                  plus(times(x, doubles(up.plain), kWidth), added(r.linears[1], x, kHidden)));
        const Numbers y =
            plus(times(hidden, doubles(down.plain), kHidden), added(r.linears[2], hidden, kWidth));
        for (std::int64_t i = 0; i < kWidth; ++i)
          ASSERT_NEAR(adapted[row * kWidth + i], y[i] + residual_[row * kWidth + i],
                      bf16_ && type == DType::kBF16 ? 0.15 : 1e-3)
              << "row " << row;
      }
    }
    for (std::int64_t row = 0; row < kRows; ++row) {
      const auto* now = &adapted[row * kWidth];
      EXPECT_EQ(std::equal(now, now + kWidth, &base[row * kWidth]), !has[row]) << "row " << row;
    }
    for (const int workers : {2, 3}) EXPECT_EQ(run(workers, op(runs(), kGenerated)), adapted);
  }
}

TEST_P(LowRankRows, AnAdapterThatIsNotOnTheLayerCostsNothing) {
  const Matrix w(table_, DType::kF32, kWidth, kHidden, 3);
  std::vector<float> x = normal(kRows * kHidden, 7);
  const std::vector<LowRank> none(3);
  const std::vector<AdapterRun> with = {{0, kRows, none.data()}};
  const auto op = [&](const std::vector<AdapterRun>& given) {
    return [&, given](Exec& ex) {
      const Tensor in{DType::kF32, {kRows, kHidden}, x.data()}, out = ex.temporary({kRows, kWidth});
      linear_residual(ex, in, w.packed, kGenerated,
                      {DType::kF32, {kRows, kWidth}, const_cast<float*>(residual_.data())}, out, {given, 0});
      return out;
    };
  };
  const std::vector<float> base = run(2, op({}));
  const std::size_t ops = trace_.ops.size();
  EXPECT_EQ(run(2, op(with)), base);
  EXPECT_EQ(trace_.ops.size(), ops);
}

INSTANTIATE_TEST_SUITE_P(Sets, LowRankRows,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
