#include "text/bpe_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/json.h"
#include "base/mmap.h"
#include "text/pretokenizer_table.h"
#include "text/tokenizer_json_write.h"

namespace tw::text {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

const std::string kRoot = TW_SOURCE_DIR;

std::string read(const std::string& path) {
  auto text = base::read_file(path);
  EXPECT_TRUE(text.ok()) << text.error().text();
  return text.ok() ? *text : std::string();
}

std::vector<std::string> documents(const std::string& name) {
  if (name == "shakespeare") return {read(kRoot + "/tests/data/text/tinyshakespeare.txt")};
  const std::string text = read(kRoot + "/tests/golden/bpe/mixed.txt");
  std::vector<std::string> list;
  for (std::size_t at = 0, end = 0; end != text.size(); at = end + 1) {
    end = std::min(text.find('\f', at), text.size());
    list.push_back(text.substr(at, end - at));
  }
  return list;
}

TokenizerSpec train(const std::vector<std::string>& texts, BpeTrainerOptions options) {
  auto trainer = BpeTrainer::create(std::move(options));
  EXPECT_TRUE(trainer.ok()) << trainer.error().text();
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  trainer->add(views);
  auto spec = trainer->train();
  EXPECT_TRUE(spec.ok()) << spec.error().text();
  return *std::move(spec);
}

class BpeGolden : public testing::TestWithParam<const char*> {};

/// The oracle is Hugging Face's package (tools/make_bpe_golden.py).
TEST_P(BpeGolden, FindsTheMergesOfThePackage) {
  const auto golden = base::parse_json(read(kRoot + "/tests/golden/bpe/" + GetParam() + ".json"));
  ASSERT_TRUE(golden.ok());
  const base::Json& g = *golden;
  BpeTrainerOptions options;
  options.vocab_size = g["vocab_size"];
  options.min_frequency = g["min_frequency"];
  options.special_tokens = g["special"];
  options.pre = g["kind"];
  options.all_bytes = g["all_bytes"];
  for (const int threads : {1, 3}) {
    options.threads = threads;
    const TokenizerSpec spec = train(documents(g["text"]), options);
    EXPECT_EQ(spec.tokens.size(), g["size"].get<std::size_t>());
    EXPECT_THAT(spec.merges, ElementsAreArray(g["merges"].get<std::vector<std::string>>()));
  }
}

INSTANTIATE_TEST_SUITE_P(All, BpeGolden,
                         testing::Values("shakespeare_4096", "shakespeare_all", "mixed_gpt2", "mixed_smollm",
                                         "mixed_colliding"),
                         [](const auto& info) { return std::string(info.param); });

TEST(BpeTrainer, TokenizerJsonGivesTheSameTokenizer) {
  const std::vector<std::string> texts = documents("mixed");
  BpeTrainerOptions options;
  options.vocab_size = 900;
  options.special_tokens = {"<|endoftext|>", "<|im_end|>"};
  for (const char* pre : {"gpt-2", "smollm"}) {
    options.pre = pre;
    const TokenizerSpec spec = train(texts, options);
    const auto json = tokenizer_json(spec);
    ASSERT_TRUE(json.ok()) << json.error().text();
    auto parsed = parse_tokenizer_json(*json, tokenizer_config_json(spec, 2048, ""));
    ASSERT_TRUE(parsed.ok()) << parsed.error().text();
    const auto direct = Tokenizer::create(spec), read_back = Tokenizer::create(*std::move(parsed));
    ASSERT_TRUE(direct.ok() && read_back.ok());
    EXPECT_EQ((*read_back)->bos(), 0);
    EXPECT_EQ((*read_back)->eos(), 0);
    EXPECT_TRUE((*read_back)->is_control(1));
    for (const std::string& text : texts) {
      const std::vector<TokenId> ids = (*direct)->encode(text + "<|im_end|>", {.parse_special = true});
      EXPECT_EQ(ids, (*read_back)->encode(text + "<|im_end|>", {.parse_special = true}));
      EXPECT_EQ(ids.front(), 0);
      EXPECT_EQ(ids.back(), 1);
      EXPECT_LT(ids.size() * 3, text.size() * 2);  // it did learn something
      EXPECT_EQ((*read_back)->decode(ids), text);
    }
  }
}

TEST(BpeTrainer, CutsChangeNoPiece) {
  std::vector<std::string> texts = documents("mixed");
  texts.push_back(documents("shakespeare")[0].substr(0, 40000));
  texts.push_back("x\n\n\ny\n z \n\nw!\n\n");
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const char* name : {"gpt-2", "smollm"}) {
    const auto pre = PreTokenizer::create(pre_tokenizer_recipe(name).steps);
    ASSERT_TRUE(pre.ok());
    PreTokenizer::Scratch scratch;
    const auto pieces = [&](std::span<const std::string_view> parts) {
      std::map<std::string, int> counts;
      for (const std::string_view part : parts) {
        std::vector<Span> spans;
        pre->split(part, scratch, spans);
        for (const Span s : spans) ++counts[std::string(part.substr(s.begin, s.end - s.begin))];
      }
      return counts;
    };
    const auto whole = pieces(views);
    for (const std::size_t bytes : {1, 7, 100, 1 << 20}) {
      const auto parts = cut_documents(views, bytes);
      EXPECT_EQ(pieces(parts), whole) << bytes;
      std::string joined, all;
      for (const std::string_view part : parts) joined += part;
      for (const std::string& text : texts) all += text;
      EXPECT_EQ(joined, all);
    }
    EXPECT_GT(cut_documents(views, 7).size(), 1000u);
  }
}

TEST(BpeTrainer, AddingInPartsChangesNothing) {
  const std::vector<std::string> texts = documents("mixed");
  BpeTrainerOptions options;
  options.vocab_size = 500;
  std::uint64_t counted = 0, merged = 0;
  options.progress = [&](const char* what, std::uint64_t done, std::uint64_t) {
    (std::string(what) == "merging" ? merged : counted) = done;
  };
  auto trainer = BpeTrainer::create(options);
  ASSERT_TRUE(trainer.ok());
  std::size_t bytes = 0;
  for (const std::string& text : texts) {
    const std::string_view view = text;
    trainer->add({&view, 1});
    bytes += text.size();
  }
  EXPECT_EQ(counted, bytes);
  const auto spec = trainer->train();
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->merges, train(texts, options).merges);
  EXPECT_EQ(merged, 500u);
}

TEST(BpeTrainer, SaysWhatIsWrong) {
  const auto fails = [](BpeTrainerOptions options, const char* text) {
    const auto made = BpeTrainer::create(std::move(options));
    ASSERT_FALSE(made.ok());
    EXPECT_THAT(made.error().text(), HasSubstr(text));
  };
  fails({.vocab_size = 256}, "the vocabulary size is 256, but must be 257 to");
  fails({.special_tokens = {}}, "no special token");
  fails({.special_tokens = {"<a>", "<a>"}}, "\"<a>\" is empty or given twice");
  fails({.pre = "qwen2"}, "must be gpt-2 or smollm");
  auto trainer = BpeTrainer::create({});
  ASSERT_TRUE(trainer.ok());
  const auto spec = trainer->train();
  ASSERT_FALSE(spec.ok());
  EXPECT_THAT(spec.error().text(), HasSubstr("no text"));
}

TEST(TokenizerJsonWrite, RefusesWhatItCannotWrite) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePiece;
  EXPECT_THAT(tokenizer_json(spec).error().text(), HasSubstr("byte-level BPE"));
  spec.kind = TokenizerKind::kBpe;
  spec.normalizers = {{NormalizerStep::Kind::kLowercase}};
  EXPECT_THAT(tokenizer_json(spec).error().text(), HasSubstr("normalizers"));
}

}  // namespace
}  // namespace tw::text
