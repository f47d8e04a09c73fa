// Gradients of what adapters add to linear layers against finite differences of its definition, with dropout
// of what they read and without.
#include "ops/test_documents.h"
#include "ops/test_gradient_check.h"

namespace tw::ops {
namespace {

constexpr std::uint32_t kSite = layer_site(3, LayerSite::kFfn);

/// What an adapter adds to the op's layer `linear`, of what dropout leaves of x [T, K].
Numbers added(const Numbers& x, const Numbers& a, const Numbers& b, std::int64_t k, const Dropout& d,
              std::int64_t linear) {
  return low_rank(kept(x, d, d.adapters, adapter_site(linear), k), a, b, k, kAdapterScale);
}

/// With biases, and an adapter on each product.
GradientCase adapted_gelu_case(const Dropout& d = {}) {
  constexpr std::int64_t kWidth = 24, kHidden = 50, kRank = 3;
  GradientCase c{"adapted_gelu_ffn",
                 {{Role::kValue, {kRows, kWidth}},
                  {Role::kValue, {kRows, kWidth}},
                  {Role::kMatrix, {kHidden, kWidth}},
                  {Role::kVector, {kHidden}},
                  {Role::kMatrix, {kWidth, kHidden}},
                  {Role::kVector, {kWidth}}},
                 [=](auto& in) {
                   const Numbers hidden = gelu_of(
                       plus(times(in[1], in[2], kWidth, in[3]), added(in[1], in[6], in[7], kWidth, d, 0)));
                   const Numbers branch =
                       plus(times(hidden, in[4], kHidden, in[5]), added(hidden, in[8], in[9], kHidden, d, 1));
                   return plus(kept(branch, d, d.branches, kSite, kWidth), in[0]);
                 },
                 [](Exec& ex, auto& in) {
                   const GeluWeights weights{&in.matrices[2], &in.matrices[4], in.tensors[3], in.tensors[5]};
                   Branch branch(ex, in.tensors[0], ex.output({kRows, kWidth}), kSite);
                   gelu_ffn(ex, in.tensors[1], weights, 0, branch.residual(), branch.out(), in.adapters);
                   return branch.end();
                 }};
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{
           {kRank, kWidth}, {kHidden, kRank}, {kRank, kHidden}, {kWidth, kRank}})
    c.inputs.push_back({Role::kMatrix, shape});
  c.adapters = {{6, 7}, {8, 9}};
  c.dropout = d;
  return c;
}

/// An adapter on one layer [n, 320], whose weight is frozen in this type.
GradientCase adapted_residual_case(DType frozen, std::int64_t rank, const Dropout& d = {},
                                   std::int64_t n = 24) {
  return {"adapted_residual_" + std::string(base::dtype_name(frozen)) + "_" + std::to_string(n),
          {{Role::kValue, {kRows, n}},
           {Role::kValue, {kRows, 320}},
           {Role::kFrozen, {n, 320}, frozen},
           {Role::kMatrix, {rank, 320}},
           {Role::kMatrix, {n, rank}}},
          [d](auto& in) {
            return plus(plus(times(in[1], in[2], 320), added(in[1], in[3], in[4], 320, d, 0)), in[0]);
          },
          [n](Exec& ex, auto& in) {
            const Tensor out = ex.output({kRows, n});
            linear_residual(ex, in.tensors[1], in.matrices[2], 0, in.tensors[0], out, in.adapters);
            return out;
          },
          false,
          {{3, 4}},
          d};
}

/// Weights and adapters learn together.
GradientCase adapted_ffn_case(const Dropout& d = {}) {
  constexpr std::int64_t kWidth = 24, kHidden = 50, kRank = 5;
  return {"adapted_ffn",
          {{Role::kValue, {kRows, kWidth}},
           {Role::kValue, {kRows, kWidth}},
           {Role::kMatrix, {kHidden, kWidth}},
           {Role::kMatrix, {kHidden, kWidth}},
           {Role::kMatrix, {kWidth, kHidden}},
           {Role::kMatrix, {kRank, kWidth}},
           {Role::kMatrix, {kHidden, kRank}},
           {Role::kMatrix, {3, kWidth}},
           {Role::kMatrix, {kHidden, 3}},
           {Role::kMatrix, {kRank, kHidden}},
           {Role::kMatrix, {kWidth, kRank}}},
          [d](auto& in) {
            const Numbers hidden =
                gated(plus(times(in[1], in[2], kWidth), added(in[1], in[5], in[6], kWidth, d, 0)),
                      plus(times(in[1], in[3], kWidth), added(in[1], in[7], in[8], kWidth, d, 1)));
            return plus(plus(times(hidden, in[4], kHidden), added(hidden, in[9], in[10], kHidden, d, 2)),
                        in[0]);
          },
          [](Exec& ex, auto& in) {
            const Tensor out = ex.output({kRows, kWidth});
            gated_ffn(ex, in.tensors[1], in.matrices[2], in.matrices[3], in.matrices[4], 0, in.tensors[0],
                      out, in.adapters);
            return out;
          },
          false,
          {{5, 6}, {7, 8}, {9, 10}},
          d};
}

/// Frozen projections with norms of heads, and adapters on queries and values.
GradientCase adapted_qkv_case(const Dropout& d = {}) {
  constexpr std::int64_t kWidth = 32, kRank = 3;
  const Heads h{4, 2, 8, 0};
  auto documents = std::make_shared<Documents>(kRows, h);
  return {"attention_adapted",
          {{Role::kValue, {kRows, kWidth}},
           {Role::kFrozen, {h.heads * h.d, kWidth}},
           {Role::kFrozen, {h.kv_heads * h.d, kWidth}},
           {Role::kFrozen, {h.kv_heads * h.d, kWidth}},
           {Role::kVector, {h.d}},
           {Role::kMatrix, {kRank, kWidth}},
           {Role::kMatrix, {h.heads * h.d, kRank}},
           {Role::kMatrix, {kRank, kWidth}},
           {Role::kMatrix, {h.kv_heads * h.d, kRank}}},
          [=](auto& in) {
            const auto& positions = documents->positions;
            Numbers q = plus(times(in[0], in[1], kWidth), added(in[0], in[5], in[6], kWidth, d, 0));
            q = rms_normed(q, in[4], 1e-3);
            const Numbers k = rms_normed(times(in[0], in[2], kWidth), in[4], 1e-3);
            const Numbers v = plus(times(in[0], in[3], kWidth), added(in[0], in[7], in[8], kWidth, d, 2));
            return attended(rotated(q, positions, frequencies(h.d), false),
                            rotated(k, positions, frequencies(h.d), false), v, positions, h);
          },
          [=](Exec& ex, auto& in) {
            const auto& t = in.tensors;
            const QkvWeights w{&in.matrices[1], &in.matrices[2], &in.matrices[3], {}, {}, {}, t[4], t[4],
                               in.adapters};
            const AttentionShape shape{h.heads, h.kv_heads, h.d, h.window, false, 1e-3};
            const AttentionPlace place = documents->place(h);
            const RopeTable rope = rope_table(ex, documents->positions, frequencies(h.d));
            return attention(ex, qkv_rope(ex, t[0], w, rope, shape, place), shape, place);
          },
          false,
          {{5, 6}, {0, 0}, {7, 8}},
          d};
}

/// As peft's lora_dropout; with a first row and a step that are not 0.
Dropout of_adapters(double branches = 0) {
  return {.branches = branches, .adapters = 0.3, .seed = 0x123456789ABCULL, .step = 5, .first_row = 100};
}

class LowRankGradients : public GradientCheck {};

TEST_P(LowRankGradients, AreThoseOfFiniteDifferences) {
  for (const GradientCase& c :
       {adapted_residual_case(DType::kF32, 4), adapted_residual_case(DType::kF16, 20),
        adapted_residual_case(DType::kBF16, 3), adapted_residual_case(DType::kQ8_0, 8),
        adapted_residual_case(DType::kQ4_0, 1), adapted_ffn_case(), adapted_gelu_case(), adapted_qkv_case(),
        // Gradients of multiples of 32 columns share their sides.
        adapted_residual_case(DType::kF32, 4, {}, 64), adapted_residual_case(DType::kBF16, 16, {}, 96),
        adapted_residual_case(DType::kQ8_0, 40, {}, 32)})
    check_types(c);
}

TEST_P(LowRankGradients, AreThoseOfFiniteDifferencesWithDropout) {
  for (const GradientCase& c :
       {adapted_residual_case(DType::kF32, 4, of_adapters()),
        adapted_residual_case(DType::kQ8_0, 8, of_adapters()), adapted_ffn_case(of_adapters()),
        adapted_gelu_case(of_adapters(0.2)), adapted_qkv_case(of_adapters())})
    check_types(c);
}

/// What an adapter adds to one layer is linear in what it reads: over many masks it has the mean that it has
/// without any.
TEST_P(LowRankGradients, HaveTheMeanThatTheyHaveWithoutDropout) {
  constexpr int kMasks = 400;
  GradientCase c = adapted_residual_case(DType::kF32, 4);
  const Expected whole = expect(c, false);
  Numbers out(whole.out.size()), of_b(whole.inputs[4].size());
  double single = 0;
  for (int step = 0; step < kMasks; ++step) {
    c.dropout = {.adapters = 0.3, .seed = 11, .step = step};
    const GradientResult got =
        GradientRunner(table(), c, DType::kF32, whole.inputs).run(1, whole.factors, {});
    single += relative_error(doubles(got.out), whole.out) / kMasks;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += double{got.out[i]} / kMasks;
    for (std::size_t i = 0; i < of_b.size(); ++i) of_b[i] += double{got.gradients[4][i]} / kMasks;
  }
  // A mean of 400 is off by a twentieth of what one mask is.
  EXPECT_GT(single, 0.1);
  EXPECT_LT(relative_error(out, whole.out), 1.3 * single / 20);
  EXPECT_LT(relative_error(at_places(of_b, whole.places[4]), whole.gradients[4]), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Sets, LowRankGradients,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
