// Every published test vector of every vocabulary must match exactly.
#include "io/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/mmap.h"

namespace tw::io {
namespace {

using text::TokenId;
using text::Tokenizer;

std::unique_ptr<Tokenizer> load(const std::string& path) {
  auto file = GgufFile::open(path);
  EXPECT_TRUE(file.ok()) << file.error().text();
  if (!file.ok()) return nullptr;
  auto spec = tokenizer_spec(*file);
  EXPECT_TRUE(spec.ok()) << spec.error().text();
  if (!spec.ok()) return nullptr;
  auto tokenizer = Tokenizer::create(*std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().text();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

std::unique_ptr<Tokenizer> load_vocabulary(const std::string& name) {
  return load(std::string(TW_BINARY_DIR) + "/tests/tokenizers/ggml-vocab-" + name + ".gguf");
}

std::string read(const std::string& name) {
  auto content = base::read_file(std::string(TW_SOURCE_DIR) + "/tests/data/tokenizers/ggml-vocab-" + name);
  EXPECT_TRUE(content.ok()) << content.error().text();
  return content.ok() ? *content : std::string();
}

std::vector<std::string> read_texts(const std::string& name) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string all = read(name + ".gguf.inp");
  std::vector<std::string> texts;
  for (std::size_t begin = 0; begin < all.size();) {
    const std::size_t end = std::min(all.find(kSeparator, begin), all.size());
    texts.push_back(all.substr(begin, end - begin));
    begin = end + kSeparator.size();
  }
  return texts;
}

std::vector<std::vector<TokenId>> read_ids(const std::string& name) {
  std::istringstream lines(read(name + ".gguf.out"));
  std::vector<std::vector<TokenId>> all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    all.emplace_back();
    for (TokenId id; numbers >> id;) all.back().push_back(id);
  }
  return all;
}

class VocabularyTest : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyTest, EveryVectorMatches) {
  const auto tokenizer = load_vocabulary(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->warnings(), testing::IsEmpty());
  const auto texts = read_texts(GetParam());
  const auto ids = read_ids(GetParam());
  ASSERT_EQ(texts.size(), ids.size());
  ASSERT_GT(texts.size(), 40u);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(tokenizer->encode(texts[i], {.add_special = false}), ids[i])
        << "text " << i << ": " << texts[i];
  }
}

TEST_P(VocabularyTest, DecodingGivesTheTextBack) {
  const auto tokenizer = load_vocabulary(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  if (tokenizer->kind() == text::TokenizerKind::kWordPiece)
    GTEST_SKIP() << "WordPiece forgets case and spaces";
  for (const std::string& text : read_texts(GetParam())) {
    const auto ids = tokenizer->encode(text, {.add_special = false});
    EXPECT_EQ(tokenizer->decode(ids), text);
    text::StreamingDetokenizer stream(*tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), text);
  }
}

INSTANTIATE_TEST_SUITE_P(All, VocabularyTest,
                         testing::Values("bert-bge", "command-r", "deepseek-coder", "falcon", "gpt-2",
                                         "llama-bpe", "llama-spm", "phi-3", "qwen2", "starcoder"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tw::io
