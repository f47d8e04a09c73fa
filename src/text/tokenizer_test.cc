#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <thread>

#include "text/bpe_byte_level.h"
#include "text/bpe_merger.h"

namespace tw::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::unique_ptr<Tokenizer> create(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::create(std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().text();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

/// The 256 bytes as tokens 0 to 255, then "he" 256, "ll" 257, "hell" 258, "hello" 259, two spaces 260, and
/// control and user-defined tokens.
TokenizerSpec byte_spec() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(byte_level_encode(std::string(1, static_cast<char>(byte))));
  for (const char* merged : {"he", "ll", "hell", "hello", "ĠĠ"}) spec.tokens.push_back(merged);
  spec.merges = {"h e", "l l", "he ll", "hell o", "Ġ Ġ"};
  spec.types.assign(spec.tokens.size(), TokenType::kNormal);
  const auto add = [&](const char* text, TokenType type) {
    spec.tokens.push_back(text);
    spec.types.push_back(type);
  };
  add("<s>", TokenType::kControl);               // 261
  add("</s>", TokenType::kControl);              // 262
  add("<|im_end|>", TokenType::kControl);        // 263
  add("<tool>", TokenType::kUserDefined);        // 264
  add("<tool><tool>", TokenType::kUserDefined);  // 265
  spec.bos = 261;
  spec.eos = 262;
  spec.add_bos = true;
  spec.pre = "gpt-2";
  return spec;
}

/// Llama's layout in small: <unk>, <s>, </s>, 256 byte tokens, then pieces with falling scores.
TokenizerSpec sentence_spec() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePiece;
  const auto add = [&](const std::string& text, TokenType type) {
    spec.tokens.push_back(text);
    spec.types.push_back(type);
    spec.scores.push_back(-static_cast<float>(spec.tokens.size()));
  };
  add("<unk>", TokenType::kUnknown);
  add("<s>", TokenType::kControl);
  add("</s>", TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    add(text, TokenType::kByte);
  }
  for (const char* piece : {"▁a", "ab", "▁ab", "▁", "a", "b", "c"})
    add(piece, TokenType::kNormal);  // 259 ...
  spec.bos = 1;
  spec.eos = 2;
  spec.unk = 0;
  spec.add_bos = true;
  return spec;
}

const EncodeOptions kPlain{.add_special = false};

TEST(TokenizerTest, BytePairsMergeByRank) {
  const auto tokenizer = create(byte_spec());
  EXPECT_THAT(tokenizer->encode("hello", kPlain), ElementsAre(259));
  EXPECT_THAT(tokenizer->encode("hell", kPlain), ElementsAre(258));
  EXPECT_THAT(tokenizer->encode("helll", kPlain), ElementsAre(258, 'l'));
  EXPECT_THAT(tokenizer->encode("lll", kPlain), ElementsAre(257, 'l'));
  EXPECT_THAT(tokenizer->encode("hi"), ElementsAre(261, 'h', 'i'));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre(261));
  EXPECT_THAT(tokenizer->encode("", kPlain), IsEmpty());
}

TEST(TokenizerTest, SpecialTokensComeFromTextOnlyWhenAsked) {
  const auto tokenizer = create(byte_spec());
  const EncodeOptions parse{.add_special = false, .parse_special = true};
  EXPECT_THAT(tokenizer->encode("a<s>b", parse), ElementsAre('a', 261, 'b'));
  EXPECT_THAT(tokenizer->encode("<s>", kPlain), ElementsAre('<', 's', '>'));
  EXPECT_THAT(tokenizer->encode("<tool>x", kPlain), ElementsAre(264, 'x'));
  EXPECT_THAT(tokenizer->encode("<tool><tool><tool", kPlain), ElementsAre(265, '<', 't', 'o', 'o', 'l'));
  EXPECT_THAT(tokenizer->encode("<|im_end|><|im_end", parse).size(), 1 + 8u);
}

TEST(TokenizerTest, PiecesAndNames) {
  const auto tokenizer = create(byte_spec());
  EXPECT_EQ(tokenizer->piece(' '), " ");
  EXPECT_EQ(tokenizer->piece(0xC3), "\xC3");
  EXPECT_EQ(tokenizer->piece(261), "<s>");
  EXPECT_EQ(tokenizer->find("hello"), 259);
  EXPECT_EQ(tokenizer->find("hellooo"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_control(261));
  EXPECT_FALSE(tokenizer->is_control(264));
  EXPECT_FALSE(tokenizer->is_control(-1));
  EXPECT_FALSE(tokenizer->is_control(100000));
  EXPECT_TRUE(tokenizer->is_end_of_generation(262));
  EXPECT_TRUE(tokenizer->is_end_of_generation(263));
  EXPECT_FALSE(tokenizer->is_end_of_generation(264));
}

TEST(TokenizerTest, DecodingSkipsWhatItShould) {
  const auto tokenizer = create(byte_spec());
  const std::vector<TokenId> ids = {261, 259, 260, 264, -3, 99999, 262};
  EXPECT_EQ(tokenizer->decode(ids), "hello  <tool>");
  EXPECT_EQ(tokenizer->decode(ids, false), "<s>hello  <tool></s>");
}

TEST(TokenizerTest, AnUnknownPreTokenizerIsSaid) {
  TokenizerSpec spec = byte_spec();
  spec.pre = "nobody-knows";
  EXPECT_THAT(create(std::move(spec))->warnings(), ElementsAre(HasSubstr("nobody-knows")));
}

TEST(TokenizerTest, SentencePieceMergesByScoreAndFallsBackToBytes) {
  const auto tokenizer = create(sentence_spec());
  EXPECT_THAT(tokenizer->encode("ab", kPlain), ElementsAre(261));
  EXPECT_THAT(tokenizer->encode("aab", kPlain),
              ElementsAre(259, 260));  // "▁a" before "ab", "ab" before "▁ab"
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(1, 261));
  EXPECT_THAT(tokenizer->encode("é", kPlain), ElementsAre(262, 3 + 0xC3, 3 + 0xA9));
  EXPECT_THAT(tokenizer->encode("\xFF", kPlain), ElementsAre(262, 3 + 0xFF));
  EXPECT_THAT(tokenizer->encode("c ab", kPlain), ElementsAre(262, 265, 261));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" c ab")), " c ab");
  EXPECT_THAT(tokenizer->encode("</s>a", {.add_special = false, .parse_special = true}), ElementsAre(2, 259));
}

TEST(TokenizerTest, BadSpecsFailWithTheReason) {
  const auto expect = [](auto change, const char* reason) {
    TokenizerSpec spec = byte_spec();
    change(spec);
    const auto tokenizer = Tokenizer::create(std::move(spec));
    ASSERT_FALSE(tokenizer.ok()) << reason;
    EXPECT_THAT(tokenizer.error().text(), HasSubstr(reason));
  };
  expect([](TokenizerSpec& s) { s.tokens.clear(); }, "no tokens");
  expect([](TokenizerSpec& s) { s.types.pop_back(); }, "token types");
  expect([](TokenizerSpec& s) { s.scores = {1}; }, "scores");
  expect([](TokenizerSpec& s) { s.bos = 266; }, "bos is token 266");
  expect([](TokenizerSpec& s) { s.pad = -1; }, "pad is token -1");
  expect([](TokenizerSpec& s) { s.merges.push_back("h q q"); }, "not in the vocabulary");
  expect([](TokenizerSpec& s) { s.merges.push_back("hello"); }, "not two tokens");
  expect([](TokenizerSpec& s) { s.types[0] = static_cast<TokenType>(9); }, "unknown type 9");
  expect([](TokenizerSpec& s) { s.pre_steps = {{.pattern = "("}}; }, "does not compile");
  expect([](TokenizerSpec& s) { s.kind = TokenizerKind::kSentencePiece, s.merges.clear(); }, "a score");
  expect([](TokenizerSpec& s) { s.prefix = {{7000}}; }, "7000");
}

TEST(TokenizerTest, ThreadsShareOne) {
  const auto tokenizer = create(byte_spec());
  const auto expected = tokenizer->encode("hello  hell ¿qué? 中");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(tokenizer->encode("hello  hell ¿qué? 中"), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(StreamingDetokenizerTest, NeverEmitsHalfACharacter) {
  const auto tokenizer = create(byte_spec());
  StreamingDetokenizer stream(*tokenizer);
  std::string all;
  const std::string text = "é中🦙x";
  for (const TokenId id : tokenizer->encode(text, kPlain)) {
    const std::string part = stream.push(id);
    EXPECT_TRUE(part.empty() || (static_cast<unsigned char>(part[0]) & 0xC0) != 0x80);
    all += part;
  }
  EXPECT_EQ(all + stream.finish(), text);
}

TEST(StreamingDetokenizerTest, BrokenBytesBecomeReplacementCharacters) {
  const auto tokenizer = create(byte_spec());
  StreamingDetokenizer stream(*tokenizer);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push('a'), "\uFFFDa");
  EXPECT_EQ(stream.push(0xE4), "");
  EXPECT_EQ(stream.push(261), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push(-5), "");
}

TEST(StreamingDetokenizerTest, AControlTokenThatIsShownKeepsTheSpaceAfterIt) {
  const auto tokenizer = create(sentence_spec());
  const std::vector<TokenId> ids = {1, 261, 259};
  EXPECT_EQ(tokenizer->decode(ids), "ab a");
  EXPECT_EQ(tokenizer->decode(ids, false), "<s> ab a");  // as transformers decodes it
  StreamingDetokenizer stream(*tokenizer, {.skip_special = false});
  std::string text;
  for (const TokenId id : ids) text += stream.push(id);
  EXPECT_EQ(text, "<s> ab a");
}

TEST(StreamingDetokenizerTest, TheFirstSpaceGoesOnlyAtTheStart) {
  const auto tokenizer = create(sentence_spec());
  StreamingDetokenizer start(*tokenizer);
  EXPECT_EQ(start.push(1), "");
  EXPECT_EQ(start.push(259), "a");
  EXPECT_EQ(start.push(259), " a");
  StreamingDetokenizer middle(*tokenizer, {.text_start = false});
  EXPECT_EQ(middle.push(259), " a");
}

/// Neighbours merged one by one, as the definition says.
std::vector<TokenId> merge_by_definition(const MergeTable& table, std::vector<TokenId> ids) {
  for (;;) {
    std::size_t best = 0;
    Merge found;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge merge = table.find(ids[i], ids[i + 1]);
      if (merge.rank < found.rank) found = merge, best = i;
    }
    if (found.rank == kNoRank) return ids;
    ids[best] = found.result;
    ids.erase(ids.begin() + best + 1);
  }
}

TEST(MergeScratchTest, ShortAndLongWordsAgreeWithTheDefinition) {
  std::mt19937 random(3);
  MergeTable table(10);
  for (TokenId id = 4; id < 40; ++id) {
    table.insert(random() % id, random() % id, {static_cast<std::uint32_t>(random() % 30), id});
  }
  for (const std::size_t length : {1u, 2u, 5u, 39u, 40u, 41u, 42u, 100u, 300u}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<TokenId> ids(length);
      for (TokenId& id : ids) id = random() % 4;
      MergeScratch scratch;
      for (std::size_t i = 0; i < length; ++i)
        scratch.symbols.push_back({ids[i], static_cast<std::uint32_t>(i), {}});
      scratch.run(table);
      std::vector<TokenId> merged;
      for (const Symbol& symbol : scratch.symbols) merged.push_back(symbol.id);
      ASSERT_EQ(merged, merge_by_definition(table, ids)) << length;
    }
  }
}

/// Four times the input may not take much more than four times the processor time (a quadratic step would
/// take 16).
void expect_near_linear(const Tokenizer& tokenizer, std::string_view unit) {
  const auto seconds = [&](std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += unit;
    const std::clock_t begin = std::clock();
    EXPECT_GT(tokenizer.encode(text).size(), 0u);
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  const double whole = seconds(1 << 20);
  EXPECT_LT(whole, 8 * seconds(1 << 18) + 1) << testing::PrintToString(std::string(unit));
}

TEST(TokenizerTest, WorstCasesTakeNearLinearTime) {
  const std::string units[] = {"h", "l", " ", " \n", "🦙", "\xFF", "é\xC3", "1", "<tool", "A", "中a"};
  for (const char* pre : {"smollm", "llama-bpe", "deepseek-llm", "gpt-4o", "kimi-k2"}) {
    TokenizerSpec spec = byte_spec();
    spec.pre = pre;
    const auto tokenizer = create(std::move(spec));
    for (const std::string& unit : units) expect_near_linear(*tokenizer, unit);
  }
  const auto sentence = create(sentence_spec());
  for (const std::string& unit : units) expect_near_linear(*sentence, unit);
}

TEST(TokenizerTest, RandomBytesComeBack) {
  const auto tokenizer = create(byte_spec());
  std::mt19937 random(5);
  std::string bytes(1 << 20, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(bytes, kPlain)), bytes);
}

}  // namespace
}  // namespace tw::text
