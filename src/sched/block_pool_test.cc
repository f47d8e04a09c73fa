#include "sched/block_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace tw::sched {
namespace {

using Tokens = std::vector<TokenId>;

TEST(BlockPool, CountsReferences) {
  BlockPool pool(2, 2);
  const BlockId block = pool.allocate();
  EXPECT_EQ(pool.available(), 1);
  pool.retain(block);
  pool.release(block);
  EXPECT_EQ(pool.available(), 1);
  pool.release(block);
  EXPECT_EQ(pool.available(), 2);
  pool.verify();
}

TEST(BlockPool, FindsWhatWasPublishedAndTakesItBack) {
  BlockPool pool(2, 2);
  const Tokens tokens = {1, 2};
  const BlockContent content{7, 0, 0, tokens};
  const BlockId block = pool.allocate();
  EXPECT_EQ(pool.find(content), kNoBlock);
  EXPECT_EQ(pool.publish(block, content), block);
  pool.release(block);
  EXPECT_EQ(pool.find(content), block);
  pool.retain(block);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_EQ(pool.references(block), 1);
  pool.verify();
}

TEST(BlockPool, ACollisionIsAMissNeverAWrongBlock) {
  BlockPool pool(4, 2);
  const Tokens tokens = {1, 2};
  const Tokens others = {1, 3};
  const BlockId block = pool.allocate();
  ASSERT_EQ(pool.publish(block, {7, 5, 1, tokens}), block);
  EXPECT_EQ(pool.find({7, 5, 1, others}), kNoBlock) << "other tokens";
  EXPECT_EQ(pool.find({7, 6, 1, tokens}), kNoBlock) << "another parent";
  EXPECT_EQ(pool.find({7, 5, 2, tokens}), kNoBlock) << "another salt";
  const BlockId second = pool.allocate();
  EXPECT_EQ(pool.publish(second, {7, 5, 1, others}), kNoBlock);
  EXPECT_EQ(pool.serial(second), 0U);
  EXPECT_EQ(pool.publish(second, {7, 5, 1, tokens}), block) << "the same content is known by the first block";
  EXPECT_EQ(pool.find({7, 5, 1, tokens}), block);
}

TEST(BlockPool, ForgetsTheLeastRecentlyReleasedLast) {
  BlockPool pool(4, 1);
  const Tokens tokens = {0, 1, 2};
  std::vector<BlockId> blocks;
  for (std::size_t i = 0; i < 3; ++i) {
    blocks.push_back(pool.allocate());
    pool.publish(blocks.back(), {i + 1, 0, 0, std::span(tokens).subspan(i, 1)});
  }
  const BlockId plain = pool.allocate();
  for (const std::size_t i : {1U, 2U, 0U}) pool.release(blocks[i]);
  pool.release(plain);
  EXPECT_EQ(pool.allocate(), plain) << "a block without content goes first";
  EXPECT_EQ(pool.allocate(), blocks[1]);
  EXPECT_EQ(pool.find({2, 0, 0, std::span(tokens).subspan(1, 1)}), kNoBlock);
  EXPECT_EQ(pool.allocate(), blocks[2]);
  EXPECT_EQ(pool.allocate(), blocks[0]);
  pool.verify();
}

TEST(BlockPool, SerialNumbersAreNeverUsedTwice) {
  BlockPool pool(1, 1);
  const Tokens tokens = {4};
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 10; ++i) {
    const BlockId block = pool.allocate();
    pool.publish(block, {9, 0, 0, tokens});
    EXPECT_TRUE(seen.insert(pool.serial(block)).second);
    pool.release(block);
  }
}

TEST(BlockPool, RandomCallsKeepTheInvariants) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    BlockPool pool(1 + static_cast<int>(random() % 12), 1);
    std::vector<BlockId> held;  // once for each reference
    for (int call = 0; call < 300; ++call) {
      const Tokens tokens = {static_cast<TokenId>(random() % 10)};
      const BlockContent content{random() % 5, 0, 0, tokens};
      if (random() % 2 == 0 && pool.available() > 0) held.push_back(pool.allocate());
      if (const BlockId found = pool.find(content); found != kNoBlock) {
        pool.retain(found);
        held.push_back(found);
      }
      if (held.empty()) continue;
      const std::size_t pick = random() % held.size();
      if (pool.serial(held[pick]) == 0) pool.publish(held[pick], content);
      if (random() % 2 == 0) {
        pool.release(held[pick]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(pick));
      }
      pool.verify();
      EXPECT_EQ(pool.total() - pool.available(), std::ssize(std::set(held.begin(), held.end())));
    }
  }
}

TEST(ChainHash, DependsOnEveryTokenItsPlaceAndTheSalt) {
  std::set<std::uint64_t> seen;
  int made = 0;
  for (TokenId a = -3; a < 30; ++a) {
    for (TokenId b = -3; b < 30; ++b) {
      for (std::uint64_t salt = 0; salt < 3; ++salt, ++made) {
        const TokenId pair[] = {a, b};
        seen.insert(chain_hash(root_hash(salt), pair));
      }
    }
  }
  EXPECT_EQ(std::ssize(seen), made);
  const TokenId abc[] = {1, 2, 3};
  const std::span<const TokenId> all(abc);
  EXPECT_EQ(chain_hash(0, all), chain_hash(chain_hash(0, all.first(2)), all.last(1))) << "blocks chain";
}

}  // namespace
}  // namespace tw::sched
