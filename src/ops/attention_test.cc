// How attention is shared out among workers: any number of them gives the bits that one gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "ops/test_op.h"

namespace tw::ops {
namespace {

constexpr AttentionShape kShape = [] {
  AttentionShape s{};
  s.heads = 6;
  s.kv_heads = 2;
  s.head_dim = 32;
  return s;
}();

/// A step of several sequences over one random cache.
class Step {
 public:
  explicit Step(std::int64_t longest) : longest_(longest), blocks_((longest + 15) / 16) {
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i] = static_cast<std::int32_t>(blocks_.size() - 1 - i);
    keys_ = normal(longest_blocks() * kShape.kv_heads * kShape.head_dim, 1);
    values_ = normal(longest_blocks() * kShape.kv_heads * kShape.head_dim, 2);
  }

  /// Rows at positions [first, last) of one sequence.
  void add(std::int64_t first, std::int64_t last, bool generated) {
    for (std::int64_t p = first; p < last; p += kernels::kAttentionRows) {
      const auto begin = static_cast<std::int32_t>(positions_.size());
      const std::int64_t end = std::min(p + kernels::kAttentionRows, last);
      for (std::int64_t i = p; i < end; ++i) positions_.push_back(static_cast<std::int32_t>(i));
      tiles_.push_back({begin, static_cast<std::int32_t>(positions_.size())});
    }
    if (generated) generated_ = static_cast<std::int64_t>(positions_.size());
    row_blocks_.assign(positions_.size(), blocks_.data());
  }

  std::vector<float> run(const kernels::Table& table, int workers) {
    std::vector<float> q = normal(rows() * kShape.heads * kShape.head_dim, 3);
    AttentionPlace place{positions_, row_blocks_, tiles_, {}, longest_, generated_};
    place.kv = {keys_.data(),      values_.data(),  tensor::DType::kF32,
                kernels::kKvBlock, kShape.kv_heads, kShape.head_dim};
    const Tensor input{tensor::DType::kF32, {rows(), kShape.heads * kShape.head_dim}, q.data()};
    Trace trace;
    Exec tracing(table, trace);
    attention(tracing, {input, {}, {}}, kShape, place);
    const auto arena = tensor::Buffer::allocate(tracing.arena().peak(), "test arena").value();
    const auto scratch = tensor::Buffer::allocate(tracing.scratch_peak(), "test scratch").value();
    Tensor out;
    // One thread plays all workers, one after the other. It does so twice, since what the others leave
    // before a barrier is there for all in the second round.
    for (int round = 0; round < 2; ++round) {
      for (int worker = 0; worker < workers; ++worker) {
        base::Barrier alone(1);
        Exec ex(table, alone, worker, workers, tensor::Arena(arena.data(), tracing.arena().peak()),
                scratch.data(), tracing.scratch_peak());
        out = attention(ex, {input, {}, {}}, kShape, place);
      }
    }
    return {out.f32(), out.f32() + rows() * kShape.heads * kShape.head_dim};
  }

 private:
  std::int64_t rows() const { return static_cast<std::int64_t>(positions_.size()); }
  std::int64_t longest_blocks() const { return static_cast<std::int64_t>(blocks_.size()) * 16; }

  std::int64_t longest_, generated_ = 0;
  std::vector<std::int32_t> blocks_, positions_;
  std::vector<const std::int32_t*> row_blocks_;
  std::vector<AttentionPlace::Tile> tiles_;
  std::vector<float> keys_, values_;
};

class Workers : public ::testing::TestWithParam<std::string> {
 protected:
  const kernels::Table table_ = kernels::make_table(GetParam(), kernels::detect_features()).value();
  void expect_same(Step& step) {
    const std::vector<float> one = step.run(table_, 1);
    EXPECT_TRUE(std::any_of(one.begin(), one.end(), [](float x) { return x != 0; }));
    for (const int workers : {2, 3, 7}) {
      const std::vector<float> shared = step.run(table_, workers);
      EXPECT_EQ(0, std::memcmp(shared.data(), one.data(), one.size() * sizeof(float)))
          << workers << " workers";
    }
  }
};

TEST_P(Workers, LongGeneratedRowsAreSharedByPieces) {
  Step step(1100);
  step.add(1099, 1100, true);
  step.add(3, 4, true);
  step.add(512, 515, true);
  expect_same(step);
}

TEST_P(Workers, PromptsAndGeneratedRowsTogether) {
  Step step(700);
  step.add(600, 601, true);
  step.add(0, 150, false);
  step.add(513, 640, false);
  expect_same(step);
}

TEST_P(Workers, ARowHasTheSameBitsSharedOrNot) {
  Step few(1100), many(1100);
  few.add(1099, 1100, true);
  many.add(1099, 1100, true);
  for (int i = 0; i < 12; ++i) many.add(40 + i, 41 + i, true);  // too many rows to share pieces
  const auto shared = few.run(table_, 2);
  auto whole = many.run(table_, 2);
  // Queries are drawn in order: the first row has the same one in both.
  whole.resize(shared.size());
  EXPECT_EQ(shared, whole);
}

TEST_P(Workers, RowsOfAPromptHaveTheSameBitsSharedByPiecesOrNot) {
  Step few(1100), many(1100);
  few.add(1050, 1058, false);
  many.add(1050, 1058, false);
  many.add(0, 600, false);  // work enough without pieces
  const auto shared = few.run(table_, 2);
  auto whole = many.run(table_, 2);
  whole.resize(shared.size());
  EXPECT_EQ(shared, whole);
  expect_same(few);
}

INSTANTIATE_TEST_SUITE_P(Sets, Workers,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
