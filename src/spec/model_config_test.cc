#include "spec/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace tw::spec {
namespace {

using testing::HasSubstr;

ModelConfig small() {
  ModelConfig c;
  c.layers = 2;
  c.width = 8;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 2;
  c.ffn_width = 16;
  c.vocab = 10;
  c.context = 32;
  c.norm_epsilon = 1e-5;
  c.rope_theta = 10000;
  c.tied_embeddings = false;
  return c;
}

template <typename Change>
std::string problem(Change change) {
  ModelConfig c = small();
  change(c);
  const base::Status status = c.validate();
  return status.ok() ? std::string() : status.error().text();
}

TEST(ModelConfig, CountsParameters) {
  ModelConfig c = small();
  ASSERT_TRUE(c.validate().ok());
  // By layer: queries and output 2 x 8 x 8, keys and values 2 x 8 x 4, feed-forward 3 x 8 x 16, norms 2 x 8.
  const std::int64_t layer = 128 + 64 + 384 + 16;
  EXPECT_EQ(c.parameter_count(), 2 * layer + 2 * 10 * 8 + 8);
  c.tied_embeddings = true;
  EXPECT_EQ(c.parameter_count(), 2 * layer + 10 * 8 + 8);
  c.qkv_bias = true;
  EXPECT_EQ(c.parameter_count(), 2 * (layer + 8 + 4 + 4) + 10 * 8 + 8);
  c.qk_norm = true;
  EXPECT_EQ(c.parameter_count(), 2 * (layer + 16 + 4) + 10 * 8 + 8);
}

TEST(ModelConfig, NamesTheFieldAndItsRange) {
  EXPECT_THAT(problem([](auto& c) { c.layers = 0; }), HasSubstr("layers is 0, outside 1 to 4096"));
  EXPECT_THAT(problem([](auto& c) { c.vocab = std::int64_t{1} << 40; }), HasSubstr("vocab is 1099511627776"));
  EXPECT_THAT(problem([](auto& c) { c.kv_heads = 3; }), HasSubstr("not a multiple of kv_heads (3)"));
  EXPECT_THAT(problem([](auto& c) { c.head_dim = 3; }), HasSubstr("head_dim (3) is odd"));
  EXPECT_THAT(problem([](auto& c) { c.rope_theta = 0; }), HasSubstr("rope_theta (0)"));
  EXPECT_THAT(problem([](auto& c) { c.norm_epsilon = std::numeric_limits<double>::infinity(); }),
              HasSubstr("norm_epsilon (inf)"));
  EXPECT_THAT(problem([](auto& c) { c.rope_factors = {1, 1}; }), HasSubstr("2 rope factors for heads of 2"));
}

TEST(ModelConfig, TheWidestThatIsValidIsCountedWithin64Bits) {
  ModelConfig c = small();
  c.layers = 4096;
  c.width = 1 << 20;
  c.heads = c.kv_heads = 1 << 8;
  c.head_dim = 1 << 14;
  c.ffn_width = 1 << 22;
  c.vocab = 1 << 24;
  ASSERT_TRUE(c.validate().ok());
  EXPECT_GT(c.parameter_count(), std::int64_t{1} << 56);
  c.heads = c.kv_heads = 1 << 9;
  EXPECT_THAT(c.validate().error().text(), HasSubstr("512 heads of 16384 are wider than 4194304"));
}

}  // namespace
}  // namespace tw::spec
