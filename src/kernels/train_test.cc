// The kernels of training that sets have their own ways of, against plain loops in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/ref/float16.h"
#include "kernels/table.h"
#include "kernels/test_product.h"

namespace tw::kernels {
namespace {

/// Largest difference over the largest wanted magnitude, or over 1: gradients may be 0.
double error(const std::vector<float>& got, const std::vector<double>& wanted) {
  double most = 0, largest = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return INFINITY;
    most = std::max(most, std::abs(got[i] - wanted[i]));
    largest = std::max(largest, std::abs(wanted[i]));
  }
  return most / largest;
}

struct Attention {
  std::int64_t rows, d, kv_heads, group, window;
  std::vector<float> q, k, v, d_out;
  std::vector<double> out, log_sums, d_q, d_k, d_v;

  Attention(std::int64_t rows_, std::int64_t d_, std::int64_t kv_heads_, std::int64_t group_,
            std::int64_t window_)
      : rows(rows_), d(d_), kv_heads(kv_heads_), group(group_), window(window_) {
    const std::size_t wide = rows * kv_heads * group * d, narrow = rows * kv_heads * d;
    q = normal(wide, 1), d_out = normal(wide, 2), k = normal(narrow, 3), v = normal(narrow, 4);
    out.resize(wide), log_sums.resize(wide / d), d_q.resize(wide), d_k.resize(narrow), d_v.resize(narrow);
    for (std::int64_t head = 0; head < kv_heads * group; ++head) {
      for (std::int64_t row = 0; row < rows; ++row) run(head, row);
    }
  }

  std::int64_t query(std::int64_t row, std::int64_t head) const {
    return (row * kv_heads * group + head) * d;
  }
  std::int64_t key(std::int64_t row, std::int64_t head) const { return (row * kv_heads + head / group) * d; }

  /// The definition: softmax's gradient is p (g - sum of p g).
  void run(std::int64_t head, std::int64_t row) {
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, row - window + 1) : 0,
                       at = query(row, head);
    std::vector<double> p(row + 1), g(row + 1);
    double sum = 0, mean = 0;
    for (std::int64_t j = first; j <= row; ++j) {
      for (std::int64_t i = 0; i < d; ++i) {
        p[j] += static_cast<double>(q[at + i]) * k[key(j, head) + i];
        g[j] += static_cast<double>(d_out[at + i]) * v[key(j, head) + i];
      }
      sum += p[j] = std::exp(p[j] * scale);
    }
    log_sums[at / d] = std::log(sum);
    for (std::int64_t j = first; j <= row; ++j) mean += (p[j] /= sum) * g[j];
    for (std::int64_t j = first; j <= row; ++j) {
      const double d_score = p[j] * (g[j] - mean) * scale;
      for (std::int64_t i = 0; i < d; ++i) {
        out[at + i] += p[j] * v[key(j, head) + i];
        d_v[key(j, head) + i] += p[j] * d_out[at + i];
        d_k[key(j, head) + i] += d_score * q[at + i];
        d_q[at + i] += d_score * k[key(j, head) + i];
      }
    }
  }
};

class TrainKernels : public testing::TestWithParam<std::string> {
 protected:
  Table table_ = *make_table(GetParam(), detect_features());
  /// Sets that multiply prompts by bf16 do so in training.
  double bound_ = table_.train_matmul != nullptr ? 0.03 : 2e-5;
};

/// The attention gradients of all rows as one document that begins at row `before` of its arrays.
void check_attention(const Table& table, const Attention& c, std::int64_t before, double bound) {
  const std::int64_t width = c.kv_heads * c.group * c.d, narrow = c.kv_heads * c.d;
  const auto shifted = [&](const auto& x, std::int64_t row) {
    std::vector<float> all(before * row + x.size(), NAN);
    std::copy(x.begin(), x.end(), all.begin() + before * row);
    return all;
  };
  const std::vector<float> q = shifted(c.q, width), k = shifted(c.k, narrow), v = shifted(c.v, narrow),
                           out = shifted(c.out, width), d_out = shifted(c.d_out, width),
                           log_sums = shifted(c.log_sums, width / c.d);
  std::vector<float> d_q = q, d_k = k, d_v = v;
  const std::size_t floats = attention_backward_scratch(c.group, c.rows, c.d);
  std::vector<float> scratch(floats + 16, NAN);
  AttentionBackwardArgs a{};
  a.q = q.data(), a.d_out = d_out.data(), a.out = out.data(), a.k = k.data(), a.v = v.data();
  a.log_sums = log_sums.data();
  a.d_q = d_q.data(), a.d_k = d_k.data(), a.d_v = d_v.data();
  a.q_stride = width, a.kv_stride = narrow, a.d = c.d;
  a.row_begin = before, a.row_end = before + c.rows;
  a.sliding_window = c.window, a.scale = 1 / std::sqrt(static_cast<float>(c.d));
  a.scratch =
      scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64 / sizeof(float);
  for (a.kv_head = 0; a.kv_head < c.kv_heads; ++a.kv_head) {
    a.head_begin = a.kv_head * c.group, a.head_end = a.head_begin + c.group;
    table.train.attention_backward(a);
  }
  const auto part = [&](const std::vector<float>& x, std::int64_t row) {
    return std::vector<float>(x.begin() + before * row, x.end());
  };
  EXPECT_LT(error(part(d_q, width), c.d_q), bound) << "d_q";
  EXPECT_LT(error(part(d_k, narrow), c.d_k), bound) << "d_k";
  EXPECT_LT(error(part(d_v, narrow), c.d_v), bound) << "d_v";
  for (std::int64_t i = 0; i < before * narrow; ++i)
    ASSERT_TRUE(std::isnan(d_k[i]) && std::isnan(d_v[i])) << "written before the document";
}

TEST_P(TrainKernels, AttentionGradientsAreTheDefinitions) {
  for (const std::int64_t rows : {1, 15, 16, 17, 33, 63, 65, 127, 129, 200, 300}) {
    SCOPED_TRACE(rows);
    check_attention(table_, Attention(rows, 64, 1, 1, 0), 0, bound_);
  }
  for (const std::int64_t d : {2, 16, 24, 32, 80, 96, 128}) {
    SCOPED_TRACE(testing::Message() << "head of " << d);
    check_attention(table_, Attention(70, d, 2, 3, 0), 5, bound_);
  }
  for (const std::int64_t window : {1, 2, 31, 64, 100, 1000}) {
    SCOPED_TRACE(testing::Message() << "window of " << window);
    check_attention(table_, Attention(250, 32, 1, 2, window), 3, bound_);
  }
}

/// left [M, K] · right [N, K]ᵀ of sides made from matrices as they lie and transposed.
void check_product(const Table& table, std::int64_t m, std::int64_t n, std::int64_t k, bool transposed) {
  SCOPED_TRACE(testing::Message() << m << " x " << n << ", " << k << " deep"
                                  << (transposed ? ", transposed" : ""));
  const TrainMatmul& matmul = *table.train_matmul;
  const MatmulPath& path = matmul.kernel.decode;
  const std::vector<float> left = normal(m * k, 1), right = normal(n * k, 2), before = normal(m * n, 3);
  std::vector<double> wanted(before.begin(), before.end());
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t l = 0; l < k; ++l) {
        wanted[i * n + j] += static_cast<double>(transposed ? left[l * m + i] : left[i * k + l]) *
                             (transposed ? right[l * n + j] : right[j * k + l]);
      }
    }
  }
  struct alignas(64) Line {
    std::uint8_t bytes[64];
  };
  const auto room = [](std::int64_t bytes) { return std::vector<Line>(bytes / 64 + 1, Line{{0xFF}}); };
  std::vector<Line> l = room(path.prepared_bytes(m, k)),
                    r = room(matmul.kernel.packed_bytes(DType::kBF16, n, k)),
                    scratch = room(path.scratch_bytes(m, k));
  // In parts, as workers make them.
  for (std::int64_t begin = 0; begin < m; begin += 32)
    matmul.make_left(
        {left.data(), transposed ? m : k, m, k, transposed, l.data(), begin, std::min(begin + 32, m)});
  for (std::int64_t begin = 0; begin < n; begin += 48)
    matmul.make_right(
        {right.data(), transposed ? n : k, n, k, transposed, r.data(), begin, std::min(begin + 48, n)});
  std::vector<float> sum = before;
  std::vector<Line> alone = room(m * n * 4);
  auto* plain = reinterpret_cast<float*>(alone.data());
  for (std::int64_t begin = 0; begin < n; begin += 64) {
    const std::int64_t end = std::min(begin + 64, n);
    path.run({DType::kBF16, r.data(), begin, end, n, k, l.data(), m, sum.data(), n, nullptr, sum.data(),
              scratch.data()});
    path.run(
        {DType::kBF16, r.data(), begin, end, n, k, l.data(), m, plain, n, nullptr, nullptr, scratch.data()});
  }
  EXPECT_LT(error(sum, wanted), 0.01);
  std::vector<float> difference(plain, plain + m * n);
  for (std::size_t i = 0; i < sum.size(); ++i) difference[i] += before[i];
  EXPECT_LT(error(difference, wanted), 0.01);
}

TEST_P(TrainKernels, ProductsOfSidesAreProducts) {
  if (table_.train_matmul == nullptr)
    GTEST_SKIP() << GetParam() << " multiplies weights that are learnt as others";
  for (const bool transposed : {false, true}) {
    for (const std::int64_t m : {1, 16, 40, 70}) {
      for (const std::int64_t n : {2, 16, 33, 80, 130}) check_product(table_, m, n, 100, transposed);
    }
    // Past 1,024 a sum is made in several parts.
    for (const std::int64_t k : {1, 16, 31, 32, 640, 641, 700, 1024, 1025, 1400, 2100})
      check_product(table_, 35, 48, k, transposed);
    check_product(table_, 100, 1100, 1400, transposed);  // more panels than are run together
  }
}

struct alignas(64) Line {
  std::array<std::uint8_t, 64> bytes;
  bool operator==(const Line&) const = default;
};

/// Both left sides of a matrix [rows, columns], or their memory.
struct LeftSides {
  LeftSides(std::int64_t rows, std::int64_t columns)
      : as_is((rows + 15) / 16 * 16 * (columns / 32)), transposed(columns * ((rows + 31) / 32)) {}
  LeftSides(const TrainMatmul& matmul, const std::vector<float>& x, std::int64_t rows, std::int64_t columns)
      : LeftSides(rows, columns) {
    matmul.kernel.decode.prepare({x.data(), columns, as_is.data(), 0, rows, columns});
    matmul.make_left({x.data(), columns, columns, rows, true, transposed.data(), 0, columns});
  }
  bool operator==(const LeftSides&) const = default;
  std::vector<Line> as_is, transposed;
};

/// Sums may come in another order, off by `bound`, which moves a rounded number by its last bit.
void expect_near(const std::vector<Line>& got, const std::vector<Line>& wanted, double bound) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t line = 0; line < got.size(); ++line) {
    std::array<std::uint16_t, 32> x, y;
    std::memcpy(x.data(), got[line].bytes.data(), 64);
    std::memcpy(y.data(), wanted[line].bytes.data(), 64);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double number = bfloat16_to_float(y[i]);
      EXPECT_NEAR(bfloat16_to_float(x[i]), number, std::abs(number) / 100 + bound) << line;
    }
  }
}

/// x [m, k] · w [k, n], of w's side and of that of its transpose, in slices of 64 columns: the same bits.
void check_turned(const TrainMatmul& matmul, std::int64_t m, std::int64_t n, std::int64_t k) {
  SCOPED_TRACE(testing::Message() << m << " x " << n << ", " << k << " deep");
  const MatmulPath& path = matmul.kernel.decode;
  const std::vector<float> x = normal(m * k, 1), w = normal(k * n, 2);
  std::vector<Line> left(path.prepared_bytes(m, k) / 64), scratch(path.scratch_bytes(m, k) / 64),
      rounded_scratch(matmul.rounded_scratch_bytes(k) / 64),
      as_is(matmul.kernel.packed_bytes(DType::kBF16, k, n) / 64),
      transposed(matmul.kernel.packed_bytes(DType::kBF16, n, k) / 64);
  path.prepare({x.data(), k, left.data(), 0, m, k});
  matmul.make_right({w.data(), n, k, n, false, as_is.data(), 0, k});
  matmul.make_right({w.data(), n, n, k, true, transposed.data(), 0, n});
  std::vector<float> out = normal(m * n, 3), wanted = out;
  LeftSides side(m, n / 32 * 32), wanted_side = side;
  for (std::int64_t begin = 0; begin < n; begin += 64) {
    MatmulArgs args{DType::kBF16,
                    transposed.data(),
                    begin,
                    std::min(begin + 64, n),
                    n,
                    k,
                    left.data(),
                    m,
                    wanted.data(),
                    n,
                    nullptr,
                    wanted.data(),
                    scratch.data()};
    path.run(args);
    MatmulArgs rounded = args;
    rounded.scratch = rounded_scratch.data();
    if (n % 32 == 0) matmul.run_rounded(rounded, false, wanted_side.as_is.data());
    args.weight = rounded.weight = as_is.data(), args.out = out.data(), args.residual = out.data();
    matmul.run_turned(args);
    if (n % 32 == 0) matmul.run_rounded(rounded, true, side.as_is.data());
  }
  EXPECT_EQ(out, wanted);
  EXPECT_TRUE(side == wanted_side);
}

TEST_P(TrainKernels, SidesThatAreTurnedAreThoseOfTheTranspose) {
  if (table_.train_matmul == nullptr)
    GTEST_SKIP() << GetParam() << " multiplies weights that are learnt as others";
  for (const std::int64_t n : {2, 16, 32, 33, 64, 160}) check_turned(*table_.train_matmul, 40, n, 100);
  for (const std::int64_t k : {1, 16, 31, 32, 48, 640, 700, 1025, 1400, 2100})
    check_turned(*table_.train_matmul, 35, 64, k);
  check_turned(*table_.train_matmul, 17, 96, 40000);  // deeper than the second cache has room for
}

/// What is made in one reading, in slices of 64 columns, of a few shapes.
class SidesAtOnce : public TrainKernels {
 protected:
  template <typename F>
  void for_shapes(const F& f) {
    if (table_.train_matmul == nullptr)
      GTEST_SKIP() << GetParam() << " multiplies weights that are learnt as others";
    for (const std::int64_t rows : {1, 15, 16, 17, 32, 33, 100}) {
      for (const std::int64_t columns : {32, 96, 320}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns);
        f(*table_.train_matmul, rows, columns);
      }
    }
  }
  template <typename F>
  static void for_slices(std::int64_t count, const F& f) {
    for (std::int64_t begin = 0; begin < count; begin += 64) f(begin, std::min(begin + 64, count));
  }
};

TEST_P(SidesAtOnce, BothLeftSidesAreWhatEachIsAlone) {
  for_shapes([](const TrainMatmul& matmul, std::int64_t rows, std::int64_t columns) {
    const std::vector<float> x = normal(rows * columns, 1);
    LeftSides sides(rows, columns);
    for_slices(rows, [&](std::int64_t begin, std::int64_t end) {
      matmul.make_lefts(
          {x.data(), columns, rows, columns, sides.as_is.data(), sides.transposed.data(), begin, end});
    });
    EXPECT_TRUE(sides == LeftSides(matmul, x, rows, columns));
  });
}

/// Numbers that bf16 has.
std::vector<float> rounded_normal(std::int64_t count, int seed) {
  std::vector<float> x = normal(count, seed);
  for (float& v : x) v = bfloat16_to_float(float_to_bfloat16(v));
  return x;
}

TEST_P(SidesAtOnce, RoundedProductsAreProductsThatAreRounded) {
  for_shapes([](const TrainMatmul& matmul, std::int64_t rows, std::int64_t columns) {
    for (const std::int64_t depth : {16, 100, 1400}) {
      const std::vector<float> left = normal(rows * depth, 1), right = normal(columns * depth, 2);
      const MatmulPath& path = matmul.kernel.decode;
      std::vector<Line> l(path.prepared_bytes(rows, depth) / 64),
          scratch(std::max(path.scratch_bytes(rows, depth), matmul.rounded_scratch_bytes(depth)) / 64),
          r(matmul.kernel.packed_bytes(DType::kBF16, columns, depth) / 64);
      path.prepare({left.data(), depth, l.data(), 0, rows, depth});
      matmul.make_right({right.data(), depth, columns, depth, false, r.data(), 0, columns});
      std::vector<float> wide(rows * columns);
      LeftSides sides(rows, columns);
      for_slices(columns, [&](std::int64_t begin, std::int64_t end) {
        const MatmulArgs args{DType::kBF16, r.data(),    begin,   end,     columns, depth,         l.data(),
                              rows,         wide.data(), columns, nullptr, nullptr, scratch.data()};
        path.run(args);
        matmul.run_rounded(args, false, sides.as_is.data());
      });
      expect_near(sides.as_is, LeftSides(matmul, wide, rows, columns).as_is, 1e-4);
    }
  });
}

TEST_P(SidesAtOnce, GradientsByLogitsAreThoseThatAreWrittenDown) {
  const auto check = [&](const TrainMatmul& matmul, std::int64_t rows, std::int64_t vocab) {
    std::vector<float> logits = rounded_normal(rows * vocab, 1);
    for (float& x : logits) x *= 8;
    // The largest of some rows is among the first, of others among the last.
    for (std::int64_t t = 0; t < rows; ++t) logits[t * vocab + (t % 2 == 0 ? t % vocab : vocab - 1)] = 48;
    const std::vector<float> weights = normal(rows, 2);
    std::vector<std::int32_t> targets(rows);
    for (std::int64_t t = 0; t < rows; ++t) targets[t] = static_cast<std::int32_t>(37 * t % vocab);
    std::vector<float> losses(rows), wanted_losses(rows);
    std::vector<LogitGradient> gradients(rows);
    LeftSides sides(matmul, logits, rows, vocab);
    for (std::int64_t begin = 0; begin < rows; begin += 32) {
      matmul.rounded_loss({sides.as_is.data(), targets.data(), weights.data(), losses.data(), begin,
                           std::min(begin + 32, rows), vocab, 0.25F, 1e-3F, gradients.data()});
    }
    for_slices(rows, [&](std::int64_t begin, std::int64_t end) {
      matmul.make_logit_lefts({sides.as_is.data(), sides.transposed.data(), rows, vocab, gradients.data(),
                               targets.data(), begin, end});
    });
    table_.train.cross_entropy(
        {logits.data(), targets.data(), weights.data(), wanted_losses.data(), 0, rows, vocab, 0.25F, 1e-3F});
    for (std::int64_t t = 0; t < rows; ++t) EXPECT_NEAR(losses[t], wanted_losses[t], 1e-5) << t;
    const LeftSides wanted(matmul, logits, rows, vocab);
    expect_near(sides.as_is, wanted.as_is, 1e-7);
    expect_near(sides.transposed, wanted.transposed, 1e-7);
  };
  for_shapes(check);
  // Those of many tokens are gone through in parts.
  for (const std::int64_t vocab : {1056, 2080, 4096}) {
    if (table_.train_matmul != nullptr) check(*table_.train_matmul, 33, vocab);
  }
}

TEST_P(SidesAtOnce, GatedLayersAreThoseThatAreWrittenDown) {
  for_shapes([&](const TrainMatmul& matmul, std::int64_t rows, std::int64_t columns) {
    std::vector<float> gates = rounded_normal(rows * columns, 1), ups = rounded_normal(rows * columns, 2),
                       d = rounded_normal(rows * columns, 3);
    LeftSides forward(rows, columns), d_gates(matmul, gates, rows, columns),
        d_ups(matmul, ups, rows, columns);
    const LeftSides d_sides(matmul, d, rows, columns);
    const std::int64_t lines = matmul.kernel.packed_bytes(DType::kF32, columns, rows) / 64;
    std::vector<Line> right(lines), expected_right(lines);
    for (std::int64_t begin = 0; begin < rows; begin += 32) {
      matmul.make_gated_left({d_gates.as_is.data(), d_ups.as_is.data(), columns, forward.as_is.data(), begin,
                              std::min(begin + 32, rows)});
    }
    for_slices(rows, [&](std::int64_t begin, std::int64_t end) {
      matmul.make_gated_lefts({d_gates.as_is.data(), d_ups.as_is.data(), d_sides.as_is.data(), rows, columns,
                               d_gates.transposed.data(), d_ups.transposed.data(), right.data(), begin, end});
    });
    table_.train.silu_mul_backward({gates.data(), ups.data(), d.data(), 0, rows * columns});
    matmul.make_right({d.data(), columns, columns, rows, true, expected_right.data(), 0, columns});
    EXPECT_TRUE(forward.as_is == LeftSides(matmul, d, rows, columns).as_is);
    EXPECT_TRUE(d_gates == LeftSides(matmul, gates, rows, columns));
    EXPECT_TRUE(d_ups == LeftSides(matmul, ups, rows, columns));
    EXPECT_TRUE(right == expected_right);
  });
}

INSTANTIATE_TEST_SUITE_P(Sets, TrainKernels, testing::ValuesIn(available_sets(detect_features())),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Sets, SidesAtOnce, testing::ValuesIn(available_sets(detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::kernels
