// What masks promise: as many left out as asked for, no two places alike, and the same rows the same in any
// cut. Their numbers: kernels/dropout_test.cc; gradients: gradient_test.cc.
#include "ops/dropout.h"

#include <cmath>
#include <set>

#include "ops/test_op.h"

namespace tw::ops {
namespace {

constexpr std::int64_t kRows = 64, kWidth = 512;
constexpr double kNumbers = kRows * kWidth;

class DropoutMasks : public Ops {
 protected:
  /// Of `rows` rows of ones.
  std::vector<float> ones(const Dropout& d, std::uint32_t site, std::int64_t rows = kRows) const {
    std::vector<float> out(rows * kWidth, 1);
    kernels::DropoutArgs a = dropout_args(d, {{rows, kWidth}, site, d.branches});
    a.x = out.data(), a.out = out.data(), a.row_end = rows;
    table_.train.dropout(a);
    return out;
  }
};

/// Five standard deviations of a count with this chance for each of `of`.
double bound(double chance, double of) {
  return 5 * std::sqrt(of * chance * (1 - chance));
}

TEST_P(DropoutMasks, LeaveOutTheShareAndMakeUpForIt) {
  for (const double share : {0.1, 0.5, 0.9, 0.999999}) {
    const std::vector<float> left = ones({.branches = share, .seed = 3}, layer_site(1, LayerSite::kFfn));
    double dropped = 0;
    for (const float x : left) {
      dropped += x == 0 ? 1 : 0;
      ASSERT_TRUE(x == 0 || x == static_cast<float>(1 / (1 - share))) << x;
    }
    EXPECT_NEAR(dropped, share * kNumbers, bound(share, kNumbers)) << share;
  }
}

/// Masks have as many places in common as chance gives them.
TEST_P(DropoutMasks, OfTwoPlacesAreUnrelated) {
  constexpr double kShare = 0.3;
  const Dropout d{.branches = kShare, .seed = 3, .step = 8, .first_row = 0};
  const auto next = [&](auto&& change) {
    Dropout other = d;
    change(other);
    return other;
  };
  const std::uint32_t site = layer_site(4, LayerSite::kAttention);
  const std::vector<float> first = ones(d, site);
  const auto check = [&](const char* what, const std::vector<float>& other) {
    double both = 0;
    for (std::size_t i = 0; i < other.size(); ++i) both += first[i] == 0 && other[i] == 0 ? 1 : 0;
    const auto count = static_cast<double>(other.size());
    EXPECT_NEAR(both, kShare * kShare * count, bound(kShare * kShare, count)) << what;
  };
  check("the other site of the layer", ones(d, layer_site(4, LayerSite::kFfn)));
  check("the next layer", ones(d, layer_site(5, LayerSite::kAttention)));
  check("the embedding", ones(d, kEmbeddingSite));
  check("an adapter", ones(d, adapter_site(4)));
  check("the next step", ones(next([](Dropout& o) { ++o.step; }), site));
  check("another seed", ones(next([](Dropout& o) { ++o.seed; }), site));
  check("another stage", ones(next([](Dropout& o) { o.seed += std::uint64_t{1} << 32; }), site));
  check("the next row", ones(next([](Dropout& o) { ++o.first_row; }), site));
  for (const std::int64_t apart : {1, 4, 16, 64, 128})
    check("a column of the same row", {first.begin() + apart, first.end()});
}

TEST_P(DropoutMasks, AreTheRowsOwnInAnyCut) {
  Dropout d{.branches = 0.5, .seed = 1, .step = 2, .first_row = 0};
  const std::vector<float> whole = ones(d, kEmbeddingSite);
  d.first_row = 23;
  EXPECT_EQ(ones(d, kEmbeddingSite, kRows - 23),
            std::vector<float>(whole.begin() + 23 * kWidth, whole.end()));
}

TEST(DropoutSites, AreAllDifferent) {
  std::set<std::uint32_t> sites = {0, kEmbeddingSite};  // 0: the sampler's
  constexpr std::int64_t kLayers = 1000, kHeads = 24;
  for (std::int64_t i = 0; i < kLayers; ++i) {
    sites.insert({layer_site(i, LayerSite::kAttention), layer_site(i, LayerSite::kFfn), adapter_site(i)});
    for (std::uint32_t head = 0; head < kHeads; ++head) sites.insert(weights_site(i, kHeads) + head);
  }
  EXPECT_EQ(sites.size(), 2U + (3 + kHeads) * kLayers);
}

/// Then ops add at once, as ever.
TEST_P(DropoutMasks, WithoutAShareThereIsNothingOfIt) {
  const auto is_nothing = [&](const Dropout& d, bool trains) {
    Trace trace;
    Exec ex(table_, trace);
    Tape tape(std::vector<Leaf>{});
    if (trains) ex.train(&tape, nullptr, d);
    const Tensor x = ex.output({3, 8}), out = ex.output({3, 8});
    const Tensor kept = dropout(ex, x, kEmbeddingSite);
    Branch branch(ex, x, out, kEmbeddingSite);
    const bool as_it_was = branch.residual().shape == x.shape && branch.out().tape_id == out.tape_id &&
                           kept.tape_id == x.tape_id && branch.end().tape_id == out.tape_id;
    return as_it_was && trace.ops.empty();
  };
  EXPECT_TRUE(is_nothing({.seed = 5}, true));
  EXPECT_TRUE(is_nothing({.branches = 0.5}, false)) << "nobody trains";
  EXPECT_FALSE(is_nothing({.branches = 0.5}, true));
}

INSTANTIATE_TEST_SUITE_P(Sets, DropoutMasks,
                         testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
