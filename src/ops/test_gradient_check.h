// For tests: gradients against finite differences of a definition in double precision, on every set of
// kernels, in fp32 and in bf16.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/ref/float16.h"
#include "ops/test_gradients.h"

namespace tw::ops {
namespace {

/// Of what the cases have as inputs.
constexpr std::int64_t kRows = 37;

std::vector<float> numbers(std::int64_t count, unsigned seed, bool bf16) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 0.7F);
  std::vector<float> out(count);
  for (float& x : out) {
    x = normal(generator);
    if (bf16) x = kernels::bfloat16_to_float(kernels::float_to_bfloat16(x));
  }
  return out;
}

/// What a type keeps of numbers.
std::vector<float> stored_as(DType type, std::vector<float> x) {
  std::vector<std::byte> row(base::row_bytes(type, std::ssize(x)));
  kernels::quantize_row(type, x.data(), row.data(), std::ssize(x));
  kernels::dequantize_row(type, row.data(), x.data(), std::ssize(x));
  return x;
}

Numbers doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

double relative_error(const Numbers& got, const Numbers& wanted) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    off += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::isfinite(off) ? std::sqrt(off / (size + 1e-12)) : INFINITY;
}

/// A case's inputs, and what the definition and its finite differences say of them.
struct Expected {
  std::vector<std::vector<float>> inputs, extra;
  std::vector<float> factors;
  Numbers out;
  /// Some of an input's numbers, evenly chosen, and the gradients by them, without `extra`.
  std::vector<std::vector<std::size_t>> places;
  std::vector<Numbers> gradients;
};

template <typename Vector>
Numbers at_places(const Vector& all, const std::vector<std::size_t>& places) {
  Numbers some;
  for (const std::size_t at : places) some.push_back(all[at]);
  return some;
}

double loss_of(const GradientCase& c, const std::vector<Numbers>& in, const std::vector<float>& factors) {
  const Numbers out = c.definition(in);
  double sum = c.besides ? c.besides(in) : 0;
  for (std::size_t i = 0; i < out.size(); ++i) sum += c.is_loss ? out[i] : out[i] * factors[i];
  return sum;
}

Expected expect(const GradientCase& c, bool bf16) {
  Expected e;
  std::vector<Numbers> in;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    e.inputs.push_back(numbers(c.inputs[i].elements(), 10 + static_cast<unsigned>(i), bf16));
    if (c.inputs[i].role == Role::kFrozen) e.inputs.back() = stored_as(c.inputs[i].frozen, e.inputs.back());
    e.extra.push_back(numbers(c.inputs[i].elements(), 40 + static_cast<unsigned>(i), bf16));
    in.push_back(doubles(e.inputs.back()));
  }
  e.out = c.definition(in);
  e.factors = numbers(std::ssize(e.out), 7, bf16);
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < in.size(); ++i) {
    std::vector<std::size_t> places;
    const bool learnt = c.inputs[i].role != Role::kFrozen;
    for (std::size_t at = 0; learnt && at < in[i].size(); at += 1 + in[i].size() / 31) places.push_back(at);
    Numbers gradient;
    for (const std::size_t at : places) {
      double& x = in[i][at];
      const double old = x;
      x = old + kStep;
      const double above = loss_of(c, in, e.factors);
      x = old - kStep;
      gradient.push_back((above - loss_of(c, in, e.factors)) / (2 * kStep));
      x = old;
    }
    e.places.push_back(std::move(places));
    e.gradients.push_back(std::move(gradient));
  }
  return e;
}

class GradientCheck : public ::testing::TestWithParam<std::string> {
 protected:
  void check_types(const GradientCase& c) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(c.name + " " + std::string(base::dtype_name(type)));
      check(c, type);
    }
  }

  const kernels::Table& table() const { return table_; }

 private:
  const kernels::Table table_ = kernels::make_table(GetParam(), kernels::detect_features()).value();

  /// What numbers of that type, and attention of prompts in bf16, leave of precision.
  double tolerance(const GradientCase& c, DType type) const {
    const bool bf16 = table_.bf16_prompts();
    const bool rounds = bf16 && (type == DType::kBF16 || c.name.starts_with("attention"));
    const bool frozen = std::any_of(c.inputs.begin(), c.inputs.end(),
                                    [](const GradientInput& in) { return in.role == Role::kFrozen; });
    if (rounds || type == DType::kBF16 || (frozen && bf16)) return 3e-2;
    // Some sets multiply quantized weights with activations of 15 bits.
    return c.name.starts_with("adapted_residual_Q") ? 1e-3 : 2e-5;
  }

  void check(const GradientCase& c, DType type) {
    const Expected e = expect(c, type == DType::kBF16);
    const double bound = tolerance(c, type);
    for (const bool twice : {false, true}) {
      GradientRunner runner(table_, c, type, e.inputs);
      const auto extra = twice ? e.extra : std::vector<std::vector<float>>{};
      const GradientResult got = runner.run(1, e.factors, extra);
      if (!c.is_loss) {
        EXPECT_LT(relative_error(doubles(got.out), e.out), bound) << "forward";
      }
      for (std::size_t i = 0; i < e.inputs.size(); ++i) {
        if (c.inputs[i].role == Role::kFrozen) continue;
        const bool more = twice && c.inputs[i].role == Role::kValue;
        const Numbers added = more ? at_places(e.extra[i], e.places[i]) : Numbers(e.places[i].size());
        EXPECT_LT(relative_error(at_places(got.gradients[i], e.places[i]), plus(e.gradients[i], added)),
                  bound)
            << "input " << i << (twice ? ", used twice" : "");
      }
      if (!twice) continue;
      for (const int workers : {2, 3}) {
        EXPECT_EQ(runner.run(workers, e.factors, extra).gradients, got.gradients) << workers << " workers";
      }
    }
  }
};

}  // namespace
}  // namespace tw::ops
