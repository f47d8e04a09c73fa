#include "text/token_mask.h"

#include <gtest/gtest.h>

#include <thread>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using testing::bit;
using testing::gbnf;
using testing::random_walk;
using testing::sample_trie;

GrammarPtr schema(std::string_view text) {
  auto grammar = compile_json_schema(*base::parse_ordered_json(text));
  TW_CHECK(grammar.ok(), "the test's schema is valid");
  return *grammar;
}

/// Grammars that differ in kind: one automaton, recursion, ambiguity, left recursion, rules that may be
/// empty.
std::vector<GrammarPtr> sample_grammars() {
  std::vector<GrammarPtr> out;
  for (const char* source : {
           "root ::= [a-z]+ (\" \" [a-z]+)*",
           "root ::= \"(\" root \")\" | \"\"",
           "root ::= root \"a\" | root \"aa\" | \"a\"",
           "root ::= s\ns ::= s s | \"a\" | \"(\" s \")\"",
           "root ::= a b c\na ::= \"a\"*\nb ::= \"a\" b | \"\"\nc ::= \"(\" root? \")\" | \"\"",
           "root ::= (\"a\" | \"b\" | \"ab\")* \"a\" [ab]{12}",
           "root ::= [^\"]{0,40} \"\\\"\"",
           "root ::= \"\xC3\xA9\" | \"\xE4\xBD\xA0\" root",
       }) {
    out.push_back(gbnf(source));
  }
  for (
      const char* source :
      {R"({"type":"object"})", R"({"type":"array","items":{"type":["string","integer"]},"maxItems":3})",
       R"({"type":"object","properties":{"name":{"type":"string"},"value":{"type":"number","minimum":0}},"required":["name"]})",
       R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"id":{"enum":["a","the"]},
            "x":{"$ref":"#/$defs/n"}},"required":["id"]}}})",
       R"({"type":"string","pattern":"^[a-z]+\"?$","maxLength":9})"}) {
    out.push_back(schema(source));
  }
  out.push_back(json_object_grammar());
  return out;
}

TEST(TokenMask, IsExactlyWhatAcceptAllows) {
  const auto trie = sample_trie();
  std::mt19937 random(1);
  for (const GrammarPtr& grammar : sample_grammars()) {
    for (int run = 0; run < 3; ++run) {
      std::string text;
      random_walk(grammar, trie, random, 12, true, text);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(TokenMask, CachedMasksAreTheSameAsFreshOnes) {
  const auto trie = sample_trie();
  std::mt19937 random(2);
  std::string text;
  for (const char* source :
       {"root ::= s\ns ::= s s | \"a\" | \"(\" s \")\"", "root ::= \"\\\"\" [a-z]* \"\\\"\" root?"}) {
    const GrammarPtr warm = gbnf(source);
    for (int run = 0; run < 20; ++run) random_walk(warm, trie, random, 10, false, text);
    const GrammarPtr cold = gbnf(source);
    GrammarMatcher a(warm, trie), b(cold, trie);
    std::vector<std::uint32_t> x(trie->mask_words()), y(trie->mask_words());
    for (const char c : text) {
      a.fill_mask(x);
      b.fill_mask(y);
      ASSERT_EQ(x, y);
      ASSERT_TRUE(a.accept_text({&c, 1}) && b.accept_text({&c, 1}));
    }
  }
}

TEST(TokenMask, RandomWalksEndInSentences) {
  const auto trie = sample_trie();
  std::mt19937 random(3);
  int finished = 0;
  for (const GrammarPtr& grammar : sample_grammars()) {
    for (int run = 0; run < 30; ++run) {
      std::string text;
      if (!random_walk(grammar, trie, random, 400, false, text)) continue;
      ++finished;
      EXPECT_TRUE(testing::matches(grammar, text)) << text;
    }
  }
  EXPECT_GT(finished, 200);
}

TEST(TokenMask, KnowsTheEnd) {
  GrammarMatcher matcher(
      schema(R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]})"), sample_trie());
  EXPECT_FALSE(matcher.can_end());
  EXPECT_TRUE(matcher.accept_text("{\"a\": 1"));
  EXPECT_FALSE(matcher.can_end());
  GrammarMatcher copy = matcher;
  EXPECT_FALSE(matcher.accept_text("}x"));
  EXPECT_TRUE(matcher.accept_text("}"));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_TRUE(matcher.must_end());
  EXPECT_FALSE(matcher.stuck());
  EXPECT_TRUE(copy.accept_text("2"));
  EXPECT_FALSE(copy.can_end());
  GrammarMatcher digits(gbnf("root ::= [0-9]+"), sample_trie());
  EXPECT_TRUE(digits.accept_text("1"));
  EXPECT_TRUE(digits.can_end());
  EXPECT_FALSE(digits.must_end());
}

TEST(TokenMask, LeavesOutExcludedAndEmptyTokens) {
  const std::vector<std::string> pieces{"a", "", "a", "<s>", "b"};
  const auto trie = std::make_shared<const TokenTrie>(pieces, std::vector<bool>{false, false, false, true});
  GrammarMatcher matcher(gbnf("root ::= .*"), trie);
  std::vector<std::uint32_t> mask(trie->mask_words());
  matcher.fill_mask(mask);
  EXPECT_EQ(mask[0], 0b10101U);
  EXPECT_FALSE(matcher.accept(1));
  EXPECT_FALSE(matcher.accept(3));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(5));
  EXPECT_TRUE(matcher.accept(2));
}

TEST(TokenMask, StaysBoundedOnHostileGrammars) {
  const auto trie = sample_trie();
  std::vector<std::uint32_t> mask(trie->mask_words());
  std::string stars = "root ::= ";
  for (int i = 0; i < 60; ++i) stars += "\"a\"* ";
  for (const std::string& source :
       {stars + "\"b\"", std::string("root ::= s\ns ::= s s s | s s | \"a\" | \"\""),
        std::string("root ::= (\"a\" | \"aa\" | \"aaa\")* \"a\" .{60} \"b\""),
        std::string("root ::= x{200}\nx ::= \"a\"? y\ny ::= \"a\"? x?")}) {
    const auto grammar = compile_gbnf(source);
    ASSERT_TRUE(grammar.ok()) << grammar.error().text();
    GrammarMatcher matcher(*grammar, trie);
    for (int i = 0; i < 200 && matcher.accept_text("a"); ++i) {
      if (i % 50 == 0) matcher.fill_mask(mask);
    }
  }
  GrammarMatcher deep(gbnf("root ::= \"(\" root \")\" | \"x\""), trie);
  EXPECT_TRUE(deep.accept_text(std::string(100'000, '(')));
  EXPECT_TRUE(deep.accept_text("x" + std::string(100'000, ')')));
  EXPECT_TRUE(deep.must_end());
}

TEST(TokenMask, KeepsRightRecursionFlat) {
  GrammarMatcher matcher(gbnf("root ::= \"a\" root | \"b\""), sample_trie());
  std::vector<std::uint32_t> mask(sample_trie()->mask_words());
  EXPECT_TRUE(matcher.accept_text(std::string(200'000, 'a')));
  matcher.fill_mask(mask);
  EXPECT_TRUE(bit(mask, 'b'));
  EXPECT_FALSE(bit(mask, 'c'));
}

TEST(TokenMask, SharesGrammarsBetweenThreads) {
  const auto trie = sample_trie();
  const GrammarPtr grammar = json_object_grammar();
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      std::string text;
      for (int run = 0; run < 5; ++run) random_walk(grammar, trie, random, 60, false, text);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(MaskCache, DropsTheOldestBeyondItsLimit) {
  MaskCache cache(10'000);
  for (std::int32_t state = 0; state < 5000; ++state) {
    auto mask = std::make_shared<StateMask>();
    mask->bits.assign(100, 1U);
    cache.insert(state, mask);
  }
  EXPECT_LT(cache.size(), 25U);
  EXPECT_EQ(cache.find(0), nullptr);
  EXPECT_NE(cache.find(4999), nullptr);
}

}  // namespace
}  // namespace tw::text
