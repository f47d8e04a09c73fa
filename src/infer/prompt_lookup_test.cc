#include "infer/prompt_lookup.h"

#include <gtest/gtest.h>

#include <random>

namespace tw::infer {
namespace {

std::vector<std::int32_t> guess(PromptLookup& lookup, std::int64_t limit = 100) {
  const auto tokens = lookup.guess(limit);
  return {tokens.begin(), tokens.end()};
}

void add(PromptLookup& lookup, std::initializer_list<std::int32_t> tokens) {
  for (const std::int32_t token : tokens) lookup.add(token);
}

TEST(PromptLookup, GoesOnAsAfterTheSameTokens) {
  PromptLookup lookup;
  add(lookup, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_TRUE(guess(lookup).empty()) << "nothing came twice";
  add(lookup, {2, 3});
  EXPECT_TRUE(guess(lookup).empty()) << "two tokens are too little";
  lookup.add(4);
  EXPECT_EQ(guess(lookup), (std::vector<std::int32_t>{5, 6, 7, 8}));
  EXPECT_EQ(guess(lookup, 2), (std::vector<std::int32_t>{5, 6}));
  EXPECT_TRUE(guess(lookup, 0).empty());
}

TEST(PromptLookup, TakesTheLatestPlace) {
  PromptLookup lookup;
  add(lookup, {1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3});
  EXPECT_EQ(guess(lookup).front(), 5);
}

TEST(PromptLookup, GuessesMoreAfterSuccessAndNothingAfterFailure) {
  PromptLookup lookup;
  for (int round = 0; round < 3; ++round) {
    for (std::int32_t token = 0; token < 40; ++token) lookup.add(token);
  }
  add(lookup, {0, 1, 2});
  EXPECT_EQ(guess(lookup).size(), 4U);
  lookup.learn(4, 4);
  EXPECT_EQ(guess(lookup).size(), 8U);
  lookup.learn(8, 8);
  lookup.learn(15, 15);
  EXPECT_EQ(std::ssize(guess(lookup)), PromptLookup::kLongest);
  for (int i = 0; i < 10; ++i) lookup.learn(4, 0);
  EXPECT_TRUE(guess(lookup).empty());
  for (std::int32_t token = 3; token < 38; ++token) lookup.add(token);
  EXPECT_FALSE(guess(lookup).empty()) << "it is tried again after a while";
}

TEST(PromptLookup, NeverGuessesBeyondTheTextOrWithoutAgreement) {
  std::mt19937 random(3);
  PromptLookup lookup;
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 3000; ++i) {
    tokens.push_back(static_cast<std::int32_t>(random() % 4));
    lookup.add(tokens.back());
    const auto guessed = guess(lookup, 1 + static_cast<std::int64_t>(random() % 9));
    if (guessed.empty()) continue;
    // Somewhere earlier the last three tokens stood before exactly these.
    bool found = false;
    for (std::size_t at = 3; at + guessed.size() <= tokens.size() && !found; ++at) {
      found =
          std::equal(tokens.end() - 3, tokens.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at) - 3) &&
          std::equal(guessed.begin(), guessed.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at));
    }
    ASSERT_TRUE(found) << i;
  }
}

}  // namespace
}  // namespace tw::infer
