// Every op against its unfused composition, written out in double precision, on every set of kernels.
#include "ops/ops.h"

#include <cmath>

#include "ops/test_op.h"

namespace tw::ops {
namespace {

constexpr std::int64_t kRows = 5, kWidth = 96;

TEST_P(Ops, EmbedTakesRowsOfTheTable) {
  std::vector<std::uint16_t> table;
  for (const float value : normal(7 * 8, 1)) table.push_back(kernels::float_to_half(value));
  const std::vector<std::int32_t> ids = {6, 0, 3, 3};
  std::vector<double> wanted;
  for (const std::int32_t id : ids) {
    for (int i = 0; i < 8; ++i) wanted.push_back(kernels::half_to_float(table[id * 8 + i]));
  }
  expect_op(wanted, [&](Exec& ex) { return embed(ex, ids, {DType::kF16, table.data(), 7, 8}); }, 0);
}

TEST_P(Ops, GatherTakesRows) {
  std::vector<float> x = normal(kRows * 8, 1);
  const std::vector<std::int32_t> rows = {4, 0, 0};
  std::vector<double> wanted;
  for (const std::int32_t row : rows) wanted.insert(wanted.end(), &x[row * 8], &x[row * 8] + 8);
  expect_op(wanted, [&](Exec& ex) { return gather_rows(ex, view(x, {kRows, 8}), rows); }, 0);
}

void rms_norm_in_place(double* x, const std::vector<float>& weight, double epsilon) {
  double sum = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) sum += x[i] * x[i];
  const double scale = 1 / std::sqrt(sum / static_cast<double>(weight.size()) + epsilon);
  for (std::size_t i = 0; i < weight.size(); ++i) x[i] *= scale * weight[i];
}

TEST_P(Ops, RmsNorm) {
  std::vector<float> x = normal(kRows * kWidth, 1), weight = normal(kWidth, 2);
  std::vector<double> wanted(x.begin(), x.end());
  for (std::int64_t t = 0; t < kRows; ++t) rms_norm_in_place(&wanted[t * kWidth], weight, 0.5);
  expect_op(wanted,
            [&](Exec& ex) { return rms_norm(ex, view(x, {kRows, kWidth}), view(weight, {kWidth}), 0.5); });
}

/// Generated rows, rows of a prompt and both; of more and of fewer rows than a worker norms at a time.
TEST_P(Ops, ANormForProductsHasTheBitsOfTheNorm) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
    const Weight gate(table_, type, 64, kWidth, 2), up(table_, type, 64, kWidth, 3),
        down(table_, type, kWidth, 64, 4);
    const std::vector<const PackedMatrix*> weights = {&gate.packed(), &up.packed()};
    for (const std::int64_t rows : {1, 70}) {
      std::vector<float> x = normal(rows * kWidth, 1), weight = normal(kWidth, 5);
      for (const std::int64_t generated : {std::int64_t{0}, rows / 7, rows}) {
        const auto op = [&](bool at_once) {
          return [&, at_once](Exec& ex) {
            const Tensor in = view(x, {rows, kWidth}), norm = view(weight, {kWidth});
            const Input normed = at_once ? rms_norm_for(ex, in, norm, 0.5, weights, generated)
                                         : Input(rms_norm(ex, in, norm, 0.5));
            const Tensor out = ex.output({rows, kWidth});
            gated_ffn(ex, normed, gate.packed(), up.packed(), down.packed(), generated, in, out);
            return out;
          };
        };
        const std::vector<float> wanted = run(1, op(false));
        for (const int workers : {1, 2, 3})
          EXPECT_EQ(run(workers, op(true)), wanted)
              << base::dtype_name(type) << ", " << workers << " workers";
      }
    }
  }
}

TEST_P(Ops, LinearIsAProductAndABias) {
  for (const DType type : {DType::kF32, DType::kF16}) {
    const Weight w(table_, type, 40, kWidth, 2);
    std::vector<float> x = normal(kRows * kWidth, 1), bias = normal(40, 3);
    std::vector<double> wanted = w.times(x);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += bias[i % 40];
    for (const std::int64_t generated : {0, 2, 5}) {
      expect_op(
          wanted,
          [&](Exec& ex) {
            return linear(ex, view(x, {kRows, kWidth}), w.packed(), generated, view(bias, {40}));
          },
          tolerance(type));
      EXPECT_EQ(trace_.ops[0].flops, 2.0 * kRows * 40 * kWidth);
    }
  }
}

TEST_P(Ops, LinearResidualAddsInPlace) {
  const Weight w(table_, DType::kF32, 40, kWidth, 2);
  std::vector<float> x = normal(kRows * kWidth, 1);
  const std::vector<float> residual = normal(kRows * 40, 3);
  std::vector<double> wanted = w.times(x);
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += residual[i];
  // Each run copies the op, and so begins with the residual.
  expect_op(wanted, [&, sum = residual](Exec& ex) mutable {
    const Tensor out = view(sum, {kRows, 40});
    linear_residual(ex, view(x, {kRows, kWidth}), w.packed(), 2, out, out);
    return out;
  });
}

TEST_P(Ops, GatedFfnIsThreeProductsAnActivationAndASum) {
  for (const DType up_type : {DType::kF32, DType::kF16}) {
    const Weight gate(table_, DType::kF32, 40, kWidth, 2), up(table_, up_type, 40, kWidth, 3),
        down(table_, DType::kF32, 24, 40, 4);
    std::vector<float> x = normal(kRows * kWidth, 1);
    const std::vector<float> residual = normal(kRows * 24, 5);
    const std::vector<double> gates = gate.times(x), ups = up.times(x);
    std::vector<float> hidden;
    for (std::size_t i = 0; i < gates.size(); ++i)
      hidden.push_back(static_cast<float>(gates[i] / (1 + std::exp(-gates[i])) * ups[i]));
    std::vector<double> wanted = down.times(hidden);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += residual[i];
    expect_op(
        wanted,
        [&, sum = residual](Exec& ex) mutable {
          const Tensor out = view(sum, {kRows, 24});
          gated_ffn(ex, view(x, {kRows, kWidth}), gate.packed(), up.packed(), down.packed(), 2, out, out);
          return out;
        },
        std::max(1e-2, 40 * tolerance(up_type)));
  }
}

const std::vector<std::int32_t> kPositions = {0, 1, 17, 18, 900};
const std::vector<float> kFrequencies = {1, 0.25F, 0.0625F, 0.015625F};

TEST_P(Ops, RopeTableHoldsCosinesAndSines) {
  for (const bool sines : {false, true}) {
    std::vector<double> wanted;
    for (const std::int32_t position : kPositions) {
      for (const float frequency : kFrequencies)
        wanted.push_back(sines ? std::sin(position * double{frequency})
                               : std::cos(position * double{frequency}));
    }
    expect_op(
        wanted,
        [&](Exec& ex) {
          const RopeTable table = rope_table(ex, kPositions, kFrequencies);
          return sines ? table.sin : table.cos;
        },
        1e-6);
  }
}

/// Biases, a norm for each head, the rotation and the cache, in either style of pairs.
class QkvRope : public Ops {
 protected:
  static constexpr std::int64_t kHeads = 4, kKvHeads = 2, kDim = 8, kBlocks = 60;
  const Weight q_{table_, DType::kF32, kHeads* kDim, kWidth, 2},
      k_{table_, DType::kF16, kKvHeads* kDim, kWidth, 3}, v_{table_, DType::kF32, kKvHeads* kDim, kWidth, 4};
  std::vector<float> x_ = normal(kRows * kWidth, 1), q_bias_ = normal(kHeads * kDim, 5),
                     k_bias_ = normal(kKvHeads * kDim, 6), v_bias_ = normal(kKvHeads * kDim, 7),
                     q_norm_ = normal(kDim, 8), k_norm_ = normal(kDim, 9);

  std::vector<double> projected(const Weight& w, const std::vector<float>& bias) const {
    std::vector<double> out = w.times(x_);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += bias[i % bias.size()];
    return out;
  }
  static void norm_and_rotate(std::vector<double>& x, const std::vector<float>& norm, bool interleaved) {
    const auto per_row = static_cast<std::int64_t>(x.size()) / kRows;
    for (std::int64_t at = 0; at < std::ssize(x); at += kDim) {
      rms_norm_in_place(&x[at], norm, 1e-5);
      for (std::int64_t i = 0; i < kDim / 2; ++i) {
        double& a = x[at + (interleaved ? 2 * i : i)];
        double& b = x[at + (interleaved ? 2 * i + 1 : i + kDim / 2)];
        const double angle = kPositions[at / per_row] * double{kFrequencies[i]};
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
    }
  }
};

TEST_P(QkvRope, IsThreeProductsANormARotationAndAStore) {
  std::vector<std::int32_t> blocks(kBlocks);
  for (std::int32_t i = 0; i < kBlocks; ++i) blocks[i] = kBlocks - 1 - i;
  const std::vector<const std::int32_t*> row_blocks(kRows, blocks.data());
  for (const bool interleaved : {false, true}) {
    std::vector<double> q = projected(q_, q_bias_), k = projected(k_, k_bias_);
    const std::vector<double> v = projected(v_, v_bias_);
    norm_and_rotate(q, q_norm_, interleaved);
    norm_and_rotate(k, k_norm_, interleaved);
    std::vector<float> keys(kBlocks * kernels::kKvBlock * kKvHeads * kDim), values(keys.size());
    AttentionPlace place{kPositions, row_blocks, {}, {}, 901, 2};
    place.kv = {keys.data(), values.data(), DType::kF32, kernels::kKvBlock, kKvHeads, kDim};
    const AttentionShape shape{kHeads, kKvHeads, kDim, 0, interleaved, 1e-5};
    expect_op(q, [&](Exec& ex) {
      QkvWeights w{&q_.packed(), &k_.packed(), &v_.packed(), {}, {}, {}, {}, {}};
      w.q_bias = view(q_bias_, {kHeads * kDim});
      w.k_bias = view(k_bias_, {kKvHeads * kDim});
      w.v_bias = view(v_bias_, {kKvHeads * kDim});
      w.q_norm = view(q_norm_, {kDim});
      w.k_norm = view(k_norm_, {kDim});
      std::vector<float> cos, sin;
      for (const std::int32_t position : kPositions) {
        for (const float frequency : kFrequencies) {
          cos.push_back(std::cos(static_cast<float>(position) * frequency));
          sin.push_back(std::sin(static_cast<float>(position) * frequency));
        }
      }
      const Shape halves{kRows, kDim / 2};
      return qkv_rope(ex, view(x_, {kRows, kWidth}), w, {view(cos, halves), view(sin, halves), {}}, shape,
                      place)
          .q;
    });
    for (std::int64_t t = 0; t < kRows; ++t) {
      const std::int64_t block = blocks[kPositions[t] / 16], slot = kPositions[t] % 16;
      for (std::int64_t head = 0; head < kKvHeads; ++head) {
        for (std::int64_t i = 0; i < kDim; ++i) {
          const std::int64_t at = (t * kKvHeads + head) * kDim + i;
          const std::int64_t first = (block * kKvHeads + head) * kDim * 16;
          EXPECT_NEAR(keys[first + i * 16 + slot], k[at], tolerance(DType::kF16)) << at;
          EXPECT_NEAR(values[first + slot * kDim + i], v[at], 1e-4) << at;
        }
      }
    }
  }
}

const auto kSets = ::testing::ValuesIn(kernels::available_sets(kernels::detect_features()));
INSTANTIATE_TEST_SUITE_P(Sets, Ops, kSets, [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Sets, QkvRope, kSets, [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
