// What GGUF cannot say of a tokenizer. That the rest comes back is tested on whole models
// (model/save_test.cc).
#include "io/gguf_tokenizer_write.h"

#include <gtest/gtest.h>

#include "text/pretokenizer_table.h"

namespace tw::io {
namespace {

using text::TokenizerKind;
using text::TokenizerSpec;

TokenizerSpec byte_level() {
  TokenizerSpec spec;
  spec.tokens = {"a", "b", "ab", "<|end|>"};
  spec.types = {text::TokenType::kNormal, text::TokenType::kNormal, text::TokenType::kNormal,
                text::TokenType::kControl};
  spec.merges = {"a b"};
  spec.bos = spec.eos = 3;
  for (const std::string_view pattern : {text::kDigitPattern, text::kGpt2Pattern})
    spec.pre_steps.push_back({.pattern = std::string(pattern)});
  return spec;
}

TokenizerSpec sentence_piece() {
  TokenizerSpec spec = byte_level();
  spec.kind = TokenizerKind::kSentencePiece;
  spec.pre_steps.clear();
  return spec;
}

const GgufWriteValue* find(const GgufWriteMetadata& metadata, const std::string& key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

template <typename T>
T get(const TokenizerSpec& spec, const std::string& key, std::int64_t vocab = 4) {
  const GgufWriteMetadata metadata = tokenizer_metadata(spec, vocab).value();
  const GgufWriteValue* value = find(metadata, "tokenizer.ggml." + key);
  return value == nullptr ? T{} : std::get<T>(*value);
}

TEST(GgufTokenizerWrite, PreTokenizersHaveTheirNames) {
  TokenizerSpec spec = byte_level();
  EXPECT_EQ(get<std::string>(spec, "pre"), "smollm");
  spec.pre_steps.erase(spec.pre_steps.begin());
  EXPECT_EQ(get<std::string>(spec, "pre"), "gpt-2");
  spec.pre_steps = {{.pattern = std::string(text::kCl100k1Pattern)}};
  spec.normalizers = {{.kind = text::NormalizerStep::Kind::kNfc}};
  EXPECT_EQ(get<std::string>(spec, "pre"), "qwen2");
  spec.pre_steps[0].pattern = text::kCl100k3Pattern;
  EXPECT_EQ(get<std::string>(spec, "pre"), "dbrx");
  spec.ignore_merges = true;
  EXPECT_EQ(get<std::string>(spec, "pre"), "llama3");
  spec.pre_steps[0].behavior = text::PreTokenizerStep::Behavior::kRemoved;
  EXPECT_EQ(tokenizer_metadata(spec, 4).error().code, base::Code::kUnsupported);
}

TEST(GgufTokenizerWrite, RowsWithoutTokensGetNames) {
  const auto tokens = get<std::vector<std::string>>(byte_level(), "tokens", 6);
  EXPECT_EQ(tokens, (std::vector<std::string>{"a", "b", "ab", "<|end|>", "[PAD4]", "[PAD5]"}));
  EXPECT_EQ(get<std::vector<std::int32_t>>(byte_level(), "token_type", 6),
            (std::vector<std::int32_t>{1, 1, 1, 3, 5, 5}));
}

TEST(GgufTokenizerWrite, TokensAroundATextAreBosAndEosOrRefused) {
  TokenizerSpec spec = byte_level();
  spec.prefix = std::vector<text::TokenId>{3};
  spec.suffix = std::vector<text::TokenId>{};
  EXPECT_TRUE(get<bool>(spec, "add_bos_token"));
  EXPECT_FALSE(get<bool>(spec, "add_eos_token"));
  spec.prefix = std::vector<text::TokenId>{1};
  EXPECT_EQ(tokenizer_metadata(spec, 4).error().code, base::Code::kUnsupported);
}

TEST(GgufTokenizerWrite, RanksBecomeScoresWhereTheyCan) {
  TokenizerSpec spec = sentence_piece();
  spec.tokens = {"a", "b", "ab", "ba", "aba"};
  spec.types.assign(5, text::TokenType::kNormal);
  spec.merges = {"b a", "a b", "ab a", "a ba"};
  const auto scores = get<std::vector<float>>(spec, "scores", 6);
  EXPECT_EQ(scores[3], 0);
  EXPECT_EQ(scores[2], -1);
  EXPECT_EQ(scores[4], -2);
  spec.merges.pop_back();  // now only ab + a gives aba, which no score can say
  EXPECT_EQ(tokenizer_metadata(spec, 6).error().code, base::Code::kUnsupported);
}

}  // namespace
}  // namespace tw::io
