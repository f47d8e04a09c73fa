// The fused product of gated feed-forward layers against the same path's two products, activated in double
// precision.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/test_product.h"

namespace tw::kernels {
namespace {

float of_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

using Case = std::tuple<std::string, DType>;

Table table_of(const std::string& set) {
  return set == kInt8Prompts ? int8_prompts_table() : make_table(set, detect_features()).value();
}

class Gated : public ::testing::TestWithParam<Case> {
 protected:
  const Table table_ = table_of(std::get<0>(GetParam()));
  const DType type_ = std::get<1>(GetParam());
};

struct Layer {
  std::vector<std::uint8_t> gate_weights, up_weights;
  Product gate, up;
  const MatmulPath& next;  ///< of the layer that follows
  std::int64_t n, k;

  Layer(const Table& table, DType type, std::int64_t outputs, std::int64_t inputs)
      : gate_weights(random_weights(type, outputs, inputs, 1)),
        up_weights(random_weights(type, outputs, inputs, 2)),
        gate(table, type, gate_weights, outputs, inputs, true),
        up(table, type, up_weights, outputs, inputs, true),
        next(*table.prefill[static_cast<int>(DType::kBF16)]),
        n(outputs),
        k(inputs) {}

  /// In the form that the next layer takes; columns are run in slices of `cut`.
  std::vector<std::uint16_t> run(const std::vector<float>& x, std::int64_t rows, std::int64_t cut) {
    const MatmulPath& path = gate.path();
    Bytes prepared, scratch, out;
    prepared.resize(path.prepared_bytes(rows, k));
    scratch.resize(path.scratch_bytes(rows, k));
    out.resize(next.prepared_bytes(rows, n));
    path.prepare({x.data(), k, prepared.data(), 0, rows, k});
    for (std::int64_t begin = 0; begin < n; begin += cut) {
      path.run_gated({gate.weight(), up.weight(), begin, std::min(begin + cut, n), n, k, prepared.data(),
                      rows, out.data(), scratch.data()});
    }
    const auto* values = static_cast<const std::uint16_t*>(out.data());
    return {values, values + (rows + 15) / 16 * 16 * n};
  }
};

TEST_P(Gated, EqualsTheTwoProducts) {
  const std::int64_t block = base::dtype_info(type_).block_elements;
  for (const std::int64_t k : {block < 32 ? 100 : block, std::int64_t{768}, std::int64_t{1536}}) {
    for (const std::int64_t rows : {1, 17, 37}) {
      const std::int64_t n = 96;
      Layer layer(table_, type_, n, k);
      std::vector<float> x = normal(rows * k, 3);
      for (float& value : x) value *= 0.2F;  // so that few gates are far from 0
      const auto gates = layer.gate.run(x, rows, nullptr, nullptr),
                 ups = layer.up.run(x, rows, nullptr, nullptr);
      std::vector<float> expected(gates.size());
      for (std::size_t i = 0; i < gates.size(); ++i) {
        const double gate = gates[i];
        expected[i] = static_cast<float>(gate / (1 + std::exp(-gate)) * ups[i]);
      }
      Bytes form;
      form.resize(layer.next.prepared_bytes(rows, n));
      layer.next.prepare({expected.data(), n, form.data(), 0, rows, n});
      const auto* wanted = static_cast<const std::uint16_t*>(form.data());
      const auto got = layer.run(x, rows, n);
      for (std::size_t i = 0; i < got.size(); ++i) {  // one rounding to 8 bits may fall otherwise
        const float value = of_bf16(wanted[i]);
        ASSERT_NEAR(of_bf16(got[i]), value, std::fabs(value) / 128 + 1e-30F)
            << "k " << k << " rows " << rows << " at " << i;
      }
      EXPECT_EQ(layer.run(x, rows, layer.gate.slice_rows()), got) << "cut";
    }
  }
}

/// The sets and weights that have a fused form.
std::vector<Case> fused_cases() {
  std::vector<Case> cases;
  std::vector<std::string> sets = available_sets(detect_features());
  if (make_table("", detect_features()).value().has_int8_prompts()) sets.emplace_back(kInt8Prompts);
  for (const std::string& set : sets) {
    const Table table = table_of(set);
    for (const DType type : kWeightTypes) {
      const MatmulPath* path = table.prefill[static_cast<int>(type)];
      if (path != nullptr && path->run_gated != nullptr) cases.emplace_back(set, type);
    }
  }
  return cases;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Gated);  // no set of an older processor has one
INSTANTIATE_TEST_SUITE_P(All, Gated, ::testing::ValuesIn(fused_cases()), [](const auto& info) {
  std::string set = std::get<0>(info.param);
  std::replace(set.begin(), set.end(), ' ', '_');
  return set + "_" + std::string(base::dtype_name(std::get<1>(info.param)));
});

}  // namespace
}  // namespace tw::kernels
