// For tests: random inputs and weights of an op, and its run against numbers in double precision.
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "kernels/ref/float16.h"
#include "ops/ops.h"
#include "ops/test_run.h"

namespace tw::ops {

inline std::vector<float> normal(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = distribution(generator);
  return values;
}

inline Tensor view(std::vector<float>& values, Shape shape) {
  return {DType::kF32, shape, values.data()};
}

/// A random matrix [n, k], in the kernels' form and in plain floats; of a quantized type these are what it
/// was before.
class Weight {
 public:
  Weight(const kernels::Table& table, DType type, std::int64_t n, std::int64_t k, unsigned seed)
      : Weight(table, type, normal(n * k, seed), n, k) {}
  Weight(const kernels::Table& table, DType type, std::vector<float> numbers, std::int64_t n, std::int64_t k)
      : n_(n), k_(k), plain_(std::move(numbers)) {
    const void* source = plain_.data();
    if (type == DType::kF16) {
      for (float& value : plain_) {
        halves_.push_back(kernels::float_to_half(value));
        value = kernels::half_to_float(halves_.back());
      }
      source = halves_.data();
    } else if (base::is_quantized(type)) {
      const std::size_t row = base::row_bytes(type, k);
      quantized_.resize(row * static_cast<std::size_t>(n));
      for (std::int64_t i = 0; i < n; ++i)
        kernels::quantize_row(type, &plain_[i * k], &quantized_[i * row], k);
      source = quantized_.data();
    }
    const kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
    panels_.resize(PackedMatrix::packed_bytes(kernel, type, n, k));
    packed_ = PackedMatrix(kernel, type, source, n, k, panels_);
    packed_.pack_panels(0, packed_.panels());
  }
  const PackedMatrix& packed() const { return packed_; }
  /// x · Wᵀ for x [T, k].
  std::vector<double> times(const std::vector<float>& x) const {
    std::vector<double> out;
    for (auto row = x.begin(); row != x.end(); row += k_) {
      for (std::int64_t n = 0; n < n_; ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < k_; ++k) sum += static_cast<double>(row[k]) * plain_[n * k_ + k];
        out.push_back(sum);
      }
    }
    return out;
  }

 private:
  std::int64_t n_, k_;
  std::vector<float> plain_;
  std::vector<std::uint16_t> halves_;
  std::vector<std::byte> quantized_, panels_;
  PackedMatrix packed_;
};

class Ops : public ::testing::TestWithParam<std::string> {
 protected:
  const kernels::Table table_ = kernels::make_table(GetParam(), kernels::detect_features()).value();
  Trace trace_;

  template <typename Op>
  std::vector<float> run(int workers, Op op) {
    return run_on_workers(table_, workers, trace_, op, [] {});
  }

  /// Of a sum of some 100 products; sets that multiply prompts in bf16 are off by up to 1/256 of each.
  double tolerance(DType type) const {
    return table_.prefill[static_cast<int>(type)] == nullptr ? 1e-4 : 0.1;
  }

  template <typename Op>
  void expect_op(const std::vector<double>& wanted, Op op, double tolerance = 1e-4) {
    const std::vector<float> alone = run(1, op);
    ASSERT_EQ(alone.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(alone[i], wanted[i], tolerance) << i;
    ASSERT_FALSE(trace_.ops.empty());
    for (const OpCost& cost : trace_.ops) EXPECT_GT(cost.activation_bytes, 0) << cost.name;
    for (const int workers : {2, 3}) EXPECT_EQ(run(workers, op), alone) << workers << " workers";
  }
};

}  // namespace tw::ops
