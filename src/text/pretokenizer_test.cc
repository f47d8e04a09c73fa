#include "text/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "text/pretokenizer_table.h"

namespace tw::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> pieces_of(const PreTokenizer& pre, std::string_view text) {
  PreTokenizer::Scratch scratch;
  std::vector<Span> spans;
  pre.split(text, scratch, spans);
  std::vector<std::string> pieces;
  for (const Span span : spans) pieces.emplace_back(text.substr(span.begin, span.end - span.begin));
  return pieces;
}

PreTokenizer make(const std::vector<PreTokenizerStep>& steps) {
  auto pre = PreTokenizer::create(steps);
  TW_CHECK(pre.ok(), "the test's patterns compile");
  return *std::move(pre);
}

TEST(PreTokenizerTest, EveryNameInTheTableCompiles) {
  for (const char* name : {"default", "llama-bpe", "qwen2", "qwen35", "deepseek-llm", "deepseek-coder",
                           "deepseek-v3", "falcon", "starcoder", "gpt-2", "tekken", "gpt-4o", "kimi-k2",
                           "bloom", "viking", "bailingmoe", "seed-coder", "chameleon"}) {
    const PreTokenizerRecipe recipe = pre_tokenizer_recipe(name);
    EXPECT_TRUE(recipe.known) << name;
    const auto pre = PreTokenizer::create(recipe.steps);
    ASSERT_TRUE(pre.ok()) << name << ": " << pre.error().text();
    std::string joined;
    const std::string text = "Hello  World's 12345 été 中文字 \n\n x_y <tag>  ";
    for (const std::string& piece : pieces_of(*pre, text)) joined += piece;
    EXPECT_EQ(joined, text) << name;
  }
  EXPECT_FALSE(pre_tokenizer_recipe("no such name").known);
}

TEST(PreTokenizerTest, KnownFamiliesCutAsPublished) {
  EXPECT_THAT(pieces_of(make(pre_tokenizer_recipe("gpt-2").steps), "I'll pay  $1234 now\n\n"),
              ElementsAre("I", "'ll", " pay", " ", " $", "1234", " now", "\n\n"));
  EXPECT_THAT(pieces_of(make(pre_tokenizer_recipe("smollm").steps), "I'll pay  12"),
              ElementsAre("I", "'ll", " pay", "  ", "1", "2"));
  EXPECT_THAT(pieces_of(make(pre_tokenizer_recipe("llama-bpe").steps), "I'LL pay 12345\n\n  x"),
              ElementsAre("I", "'LL", " pay", " ", "123", "45", "\n\n", " ", " x"));
  EXPECT_THAT(pieces_of(make(pre_tokenizer_recipe("gpt-4o").steps), "HelloWorld's fooBAR"),
              ElementsAre("Hello", "World's", " foo", "BAR"));
  EXPECT_THAT(pieces_of(make(pre_tokenizer_recipe("kimi-k2").steps), "中文abc"), ElementsAre("中文", "abc"));
}

TEST(PreTokenizerTest, BytesThatAreNoUtf8AreApart) {
  const PreTokenizer pre = make(pre_tokenizer_recipe("gpt-2").steps);
  EXPECT_THAT(pieces_of(pre, "ab\xFFγδ\xC3 e"), ElementsAre("ab", "\xFF", "γδ", "\xC3", " e"));
}

/// The hand-written scanners must do exactly what the patterns do.
class ScannerTest : public testing::TestWithParam<const char*> {};

TEST_P(ScannerTest, AgreesWithThePatternOnRandomText) {
  const PreTokenizer fast = make(pre_tokenizer_recipe(GetParam()).steps);
  ASSERT_NE(fast.scanner(), Scanner::kNone);
  PreTokenizer slow = make(pre_tokenizer_recipe(GetParam()).steps);
  slow.disable_scanner();
  const std::vector<std::string> atoms = {
      "a",      "b",      "S",  "T",  "re",   "VE",   "ll",      "m",      "d",      "Z",      "1",
      "2",      "99",     "0",  " ",  " ",    "  ",   "   ",     "\n",     "\r",     "\t",     "\v",
      "'",      "'",      "'s", "'L", ".",    ",",    "!!",      "_",      "$",      "\0",     "\x1c",
      "\x7f",   "é",      "ſ",  "K",  "中",   "٣",    "½",       "\u00a0", "\u0085", "\u2003", "\u180e",
      "\u200b", "\u0301", "🦙", "…",  "\xFF", "\xC3", "\xE4\xB8"};
  std::mt19937 random(7);
  for (int round = 0; round < 40000; ++round) {
    // Mostly ASCII, so that the scanner and the pattern take turns.
    const std::size_t kinds = round % 3 == 0 ? atoms.size() : 34;
    std::string text;
    for (unsigned n = 1 + random() % 24; n > 0; --n) text += atoms[random() % kinds];
    ASSERT_EQ(pieces_of(fast, text), pieces_of(slow, text)) << testing::PrintToString(text);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ScannerTest, testing::Values("gpt-2", "smollm", "qwen2", "llama-bpe"), [](const auto& info) {
      return std::string(info.param[0] == 'g' ? "gpt2" : info.param[0] == 'l' ? "llama3" : info.param);
    });

TEST(FilterTest, KnowsWhatAMatchMustHold) {
  const auto required = [](const char* pattern) {
    return required_ascii(pattern, Regex::compile(pattern).value());
  };
  EXPECT_FALSE(may_match(required(R"(\s?\p{P}+)").value(), " word"));
  EXPECT_TRUE(may_match(required(R"(\s?\p{P}+)").value(), " word."));
  EXPECT_TRUE(may_match(required(R"(\p{N}{1,3})").value(), "a1"));
  EXPECT_TRUE(may_match(required(R"([^\]a]+)").value(), "a b"));
  EXPECT_FALSE(may_match(required(R"([^\]a]+)").value(), "a]"));
  EXPECT_TRUE(may_match(required(R"(\p{N})").value(), "é"));
  EXPECT_EQ(required(R"(\p{N}*)"), std::nullopt);
  EXPECT_EQ(required(R"([a]|b)"), std::nullopt);
  EXPECT_EQ(required(R"(ab)"), std::nullopt);
}

TEST(RegexTest, TranslatesWhatMeansSomethingElse) {
  const auto translated = [](std::string_view pattern) { return translate_regex(pattern).value(); };
  EXPECT_EQ(translated(R"(\p{L}+| ?x{1,3})"), R"(\p{L}+| ?x{1,3})");
  EXPECT_EQ(translated(R"([^\s\p{L}])"), R"([^\x09-\x0d\x{85}\p{Z}\p{L}])");
  EXPECT_EQ(translated(R"(\u00e9{,2})"), R"(\x{00e9}{0,2})");
  EXPECT_EQ(translated(R"([\p{L}&&[^\p{Han}]]*)"), R"((?:(?![\p{Han}])[\p{L}])*)");
}

TEST(RegexTest, RefusesWhatCannotBeTheSame) {
  const std::pair<const char*, const char*> cases[] = {{R"((?R))", "group"},
                                                       {R"((*ACCEPT))", "verb"},
                                                       {R"((a)\1)", "\\1"},
                                                       {R"(a\Kb)", "\\K"},
                                                       {R"([a[bc]])", "class"},
                                                       {R"(\h)", "\\h"},
                                                       {R"([a&&b])", "intersection"},
                                                       {R"((?C1)a)", "group"},
                                                       {R"((?P<x>a)(?P=x))", "group"},
                                                       {"a\\", "backslash"},
                                                       {"\xFF", "UTF-8"},
                                                       {R"([\S\d])", "\\S"}};
  for (const auto& [pattern, reason] : cases) {
    const auto result = Regex::compile(pattern);
    ASSERT_FALSE(result.ok()) << pattern;
    EXPECT_THAT(result.error().text(), HasSubstr(reason));
  }
  EXPECT_FALSE(Regex::compile("(a").ok());
  EXPECT_FALSE(Regex::compile(std::string(20000, 'a')).ok());
  EXPECT_FALSE(Regex::compile(std::string(1000, '(') + std::string(1000, ')')).ok());
}

TEST(RegexTest, AnExplosivePatternEndsAtTheLimit) {
  const PreTokenizer pre = make({{.pattern = R"((x+x+)+y)"}});
  EXPECT_EQ(pieces_of(pre, std::string(64, 'x')).size(), 1u);
}

}  // namespace
}  // namespace tw::text
