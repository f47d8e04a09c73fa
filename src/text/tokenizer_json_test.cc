// tokenizer.json against what Hugging Face's own library makes of the same files
// (tools/make_tokenizer_golden.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/mmap.h"
#include "text/tokenizer.h"

namespace tw::text {
namespace {

using testing::HasSubstr;

std::string read(const std::string& name) {
  auto content = base::read_file(std::string(TW_SOURCE_DIR) + "/tests/data/tokenizers/" + name);
  EXPECT_TRUE(content.ok()) << content.error().text();
  return content.ok() ? *content : std::string();
}

std::unique_ptr<Tokenizer> create(const std::string& json, const std::string& config = "") {
  auto spec = parse_tokenizer_json(json, config);
  EXPECT_TRUE(spec.ok()) << spec.error().text();
  if (!spec.ok()) return nullptr;
  auto tokenizer = Tokenizer::create(*std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().text();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, IdsAndTextsAgree) {
  const std::string name = std::string("hf_") + GetParam();
  const auto tokenizer = create(read(name + ".json"));
  ASSERT_NE(tokenizer, nullptr);
  const auto golden = base::parse_json(read(name + ".golden"));
  ASSERT_TRUE(golden.ok());
  ASSERT_GT((*golden)["cases"].size(), 150u);
  for (const base::Json& one : (*golden)["cases"]) {
    const auto text = one["text"].get<std::string>();
    const auto ids = one["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->encode(text, {.add_special = false, .parse_special = true}), ids) << one["text"];
    EXPECT_EQ(tokenizer->encode(text, {.add_special = true, .parse_special = true}),
              one["special_ids"].get<std::vector<TokenId>>());
    EXPECT_EQ(tokenizer->decode(ids), one["decoded"].get<std::string>()) << one["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest,
                         testing::Values("gpt2", "roberta", "smollm", "llama3", "qwen2", "deepseek3", "o200k",
                                         "kimi", "nfd", "removed", "merged_with_previous", "merged_with_next",
                                         "contiguous", "inverted", "punctuation", "whitespace", "added",
                                         "llama2", "gemma", "metaspace_always", "metaspace_first",
                                         "metaspace_never", "wordpiece_uncased", "wordpiece_cased"),
                         [](const auto& info) { return std::string(info.param); });

/// A whole file around one component.
std::string file_with(const std::string& key, const std::string& component) {
  base::Json root = *base::parse_json(R"({"added_tokens": [], "normalizer": null, "post_processor": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
  root[key] = *base::parse_json(component);
  return base::dump_json(root);
}

TEST(TokenizerJsonTest, WhatIsUnsupportedIsNamed) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"normalizer", R"({"type": "Precompiled", "precompiled_charsmap": ""})", "Precompiled"},
      {"normalizer", R"({"type": "NFKC"})", "NFKC"},
      {"pre_tokenizer", R"({"type": "UnicodeScripts"})", "UnicodeScripts"},
      {"pre_tokenizer",
       R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})", "Digits"},
      {"post_processor", R"({"type": "Custom"})", "Custom"},
      {"decoder", R"({"type": "CTC"})", "CTC"},
      {"model", R"({"type": "Unigram", "vocab": []})", "Unigram"},
      {"model", R"({"type": "WordLevel", "vocab": {}})", "WordLevel"},
      {"model", R"({"type": "BPE", "vocab": {}, "merges": [], "end_of_word_suffix": "</w>"})",
       "end_of_word_suffix"},
      {"model", R"({"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.5})", "dropout"}};
  for (const auto& [key, component, name] : cases) {
    const auto spec = parse_tokenizer_json(file_with(key, component), "");
    ASSERT_FALSE(spec.ok()) << component;
    EXPECT_EQ(spec.error().code, base::Code::kUnsupported);
    EXPECT_THAT(spec.error().text(), HasSubstr(name));
  }
}

TEST(TokenizerJsonTest, BrokenFilesFailWithTheReason) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"model", "3", "model"},
      {"model", R"({"type": "BPE", "vocab": {"a": 99999999}, "merges": []})", "id"},
      {"model", R"({"type": "BPE", "vocab": {"a": "x"}, "merges": []})", "whole number"},
      {"model", R"({"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]})", "merge 0"},
      {"model", R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "u"})", "unk_token"},
      {"added_tokens", R"([{"id": -5, "content": "x"}])", "id"},
      {"added_tokens", R"([{"id": 3, "content": "x"}, {"id": 3, "content": "y", "special": true}])",
       "id 3 is both \"x\" and \"y\""},
      {"added_tokens", R"([{"id": 3, "content": "x"}, {"id": 3, "content": "x", "special": true}])",
       "id 3 (\"x\") is both special and not"},
      {"pre_tokenizer", R"({"type": "Split", "behavior": "Isolated"})", "pattern"},
      {"post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "?"}}]})",
       "unknown"}};
  for (const auto& [key, component, reason] : cases) {
    const auto spec = parse_tokenizer_json(file_with(key, component), "");
    ASSERT_FALSE(spec.ok()) << component;
    EXPECT_THAT(spec.error().text(), HasSubstr(reason));
  }
  EXPECT_FALSE(parse_tokenizer_json("", "").ok());
  EXPECT_FALSE(parse_tokenizer_json("[]", "").ok());
  EXPECT_FALSE(parse_tokenizer_json(file_with("normalizer", "null"), "{").ok());
}

TEST(TokenizerJsonTest, MergesOutsideTheVocabularyAreFoundAtCreation) {
  auto spec = parse_tokenizer_json(
      file_with("model", R"({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]})"), "");
  ASSERT_TRUE(spec.ok()) << spec.error().text();
  const auto tokenizer = Tokenizer::create(*std::move(spec));
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().text(), HasSubstr("merge 0 (\"a b\")"));
}

/// Neither as a byte nor by a merge.
TEST(TokenizerJsonTest, PlainTextNeverBecomesAControlToken) {
  const auto tokenizer = create(file_with("added_tokens", R"([
      {"id": 2, "content": "ab", "special": true}, {"id": 3, "content": "<", "special": true}])"));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("ab<b", {.add_special = false, .parse_special = false}),
            (std::vector<TokenId>{0, 1, 1}));
  EXPECT_EQ(tokenizer->encode("ab<b", {.add_special = false, .parse_special = true}),
            (std::vector<TokenId>{2, 3, 1}));
}

TEST(TokenizerJsonTest, ConfigNamesTokensAndDecidesAboutBos) {
  const std::string file = file_with("added_tokens", R"([{"id": 3, "content": "<s>", "special": true},
      {"id": 4, "content": "</s>", "special": true}, {"id": 5, "content": "<|im_end|>", "special": true}])");
  const std::string names = R"("bos_token": {"content": "<s>"}, "eos_token": "</s>")";
  const auto plain = create(file, "{" + names + "}");
  ASSERT_NE(plain, nullptr);
  EXPECT_EQ(plain->bos(), 3);
  EXPECT_EQ(plain->eos(), 4);
  EXPECT_EQ(plain->encode("ab"), std::vector<TokenId>({2}));
  EXPECT_THAT(plain->end_of_generation(), testing::ElementsAre(4, 5));
  const auto llama =
      create(file, "{" + names + R"(, "add_bos_token": true, "tokenizer_class": "LlamaTokenizerFast"})");
  ASSERT_NE(llama, nullptr);
  EXPECT_EQ(llama->encode("ab"), std::vector<TokenId>({3, 2}));
  EXPECT_TRUE(llama->adds_bos());
}

}  // namespace
}  // namespace tw::text
