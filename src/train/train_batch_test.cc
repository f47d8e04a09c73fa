#include "train/train_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace tw::train {
namespace {

TEST(TrainBatch, DocumentsAreShiftedByOneAndPacked) {
  TrainBatch batch;
  batch.add_document({1, 2, 3});
  batch.add_document({4, 5});
  EXPECT_THAT(batch.tokens, testing::ElementsAre(1, 2, 4));
  EXPECT_THAT(batch.targets, testing::ElementsAre(2, 3, 5));
  EXPECT_THAT(batch.offsets, testing::ElementsAre(0, 2, 3));
  EXPECT_EQ(batch.documents(), 2);
  EXPECT_TRUE(batch.validate(6).ok());
}

TEST(TrainBatch, WhatDoesNotFitIsNamed) {
  const std::pair<std::function<void(TrainBatch&)>, const char*> cases[] = {
      {[](TrainBatch& b) { b.targets.pop_back(); }, "2 targets"},
      {[](TrainBatch& b) { b.offsets[0] = 1; }, "must begin at 0"},
      {[](TrainBatch& b) { b.offsets[1] = 3; }, "be not empty"},
      {[](TrainBatch& b) { b.offsets.back() = 9; }, "end at its 3 tokens"},
      {[](TrainBatch& b) { b.clear(); }, "must begin at 0"},
      {[](TrainBatch& b) { b.tokens[1] = 6; }, "token 1 of a batch is 6"},
      {[](TrainBatch& b) { b.targets[2] = -1; }, "target 2 of a batch is -1"},
      {[](TrainBatch& b) { b.weights[0] = NAN; }, "weight 0"},
      {[](TrainBatch& b) { b.weights[2] = -1; }, "weight 2"},
  };
  for (const auto& [spoil, text] : cases) {
    TrainBatch batch;
    batch.add_document({1, 2, 3});
    batch.add_document({4, 5});
    spoil(batch);
    const base::Status status = batch.validate(6);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_THAT(status.error().text(), testing::HasSubstr(text));
  }
}

}  // namespace
}  // namespace tw::train
