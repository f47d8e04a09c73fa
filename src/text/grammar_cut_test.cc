// Vocabularies without some bytes: a mask must not lead to where no token can follow.
#include <gtest/gtest.h>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using testing::bit;
using testing::gbnf;
using testing::random_walk;
using testing::sample_pieces;
using testing::sample_trie;

/// sample_pieces() without the tokens that have one of these bytes.
std::shared_ptr<const TokenTrie> trie_without(std::string_view bytes) {
  const auto pieces = sample_pieces();
  std::vector<bool> excluded;
  for (const std::string& piece : pieces) excluded.push_back(piece.find_first_of(bytes) != std::string::npos);
  return std::make_shared<const TokenTrie>(pieces, excluded);
}

constexpr std::string_view kMissing = "xyz\x04\x90\x98\xF1";

/// Grammars with texts that need those bytes and with texts that do not, in all kinds.
const std::vector<GrammarPtr>& sample_grammars() {
  static const auto* grammars = [] {
    auto* all = new std::vector<GrammarPtr>();
    for (const char* source : {
             R"(root ::= "ax" "\x04" | "ac")",
             R"(root ::= "a" ("b" "\x04" | "c")*)",
             R"g(root ::= "(" (root | "x")? ")" | "a")g",
             R"(root ::= a b
                a ::= "k" ("x" a | "")
                b ::= "p" | "q" c
                c ::= "z" | c "r")",
             "root ::= s\ns ::= s s | \"a\" | \"(\" s \")\" | \"b\" t\nt ::= \"y\" t | \"x\"",
             "root ::= [a\xF0\x9F\x98\x80-\xF0\x9F\x98\x83\xF1\x80\x80\x80]{2}",
             "root ::= (\"a\" | \"b\" | \"ab\")* \"a\" [abx]{12}",
             R"(root ::= ("t" | "thx" | "the" "\x04")* ".")",
         }) {
      all->push_back(gbnf(source));
    }
    for (
        const char* source :
        {R"({"enum":["ax","ab",{"a":"x"},[1,"z"]]})",
         R"({"type":"object","properties":{"x":{"type":"string"},"a":{"enum":["x","b"]}},"required":["a"]})",
         R"({"type":"array","items":{"anyOf":[{"const":"y"},{"type":"string","pattern":"^[u-z]{2,5}$"}]}})"}) {
      all->push_back(compile_json_schema(*base::parse_ordered_json(source)).value());
    }
    all->push_back(json_object_grammar());
    return all;
  }();
  return *grammars;
}

/// Until the text is whole there is always a token.
TEST(GrammarCut, NoWalkGetsStuck) {
  const auto trie = trie_without(kMissing);
  std::mt19937 random(1);
  std::vector<std::uint32_t> mask(trie->mask_words());
  for (const GrammarPtr& whole : sample_grammars()) {
    const auto grammar = writable_part(whole, trie);
    ASSERT_TRUE(grammar.ok()) << grammar.error().text();
    for (int run = 0; run < 40; ++run) {
      GrammarMatcher matcher(*grammar, trie);
      std::string text;
      for (int step = 0; step < 60 && !matcher.must_end(); ++step) {
        matcher.fill_mask(mask);
        std::vector<std::int32_t> allowed;
        for (std::int32_t t = 0; t < trie->vocab_size(); ++t) {
          if (bit(mask, t)) allowed.push_back(t);
        }
        if (allowed.empty() && matcher.can_end()) break;
        ASSERT_FALSE(allowed.empty()) << "after '" << text << "'";
        const std::int32_t token = allowed[random() % allowed.size()];
        ASSERT_TRUE(matcher.accept(token));
        text += trie->piece(token);
      }
    }
  }
}

/// Of the texts of the grammar it keeps exactly those that can be written.
TEST(GrammarCut, KeepsAllThatCanBeWritten) {
  const auto trie = trie_without(kMissing);
  std::mt19937 random(2);
  int kept = 0, dropped = 0;
  for (const GrammarPtr& whole : sample_grammars()) {
    const GrammarPtr grammar = writable_part(whole, trie).value();
    for (int run = 0; run < 100; ++run) {
      std::string text;
      if (!random_walk(whole, sample_trie(), random, 60, false, text)) continue;
      const bool writable = text.find_first_of(kMissing) == std::string::npos;
      (writable ? kept : dropped)++;
      if (writable || grammar != whole) {
        EXPECT_EQ(testing::matches(grammar, text), writable) << text;
      }
    }
  }
  EXPECT_GT(kept, 100);
  EXPECT_GT(dropped, 100);
}

TEST(GrammarCut, LeavesAGrammarAloneWhereNothingHasToGo) {
  for (const GrammarPtr& whole : sample_grammars())
    EXPECT_EQ(writable_part(whole, sample_trie()).value(), whole);
  const GrammarPtr json = json_object_grammar();
  EXPECT_EQ(writable_part(json, trie_without("\x04\xF1")).value(), json) << "JSON never needs them";
}

TEST(GrammarCut, IsMadeOnceForEachVocabulary) {
  const GrammarPtr whole = sample_grammars()[0];
  const auto one = trie_without("\x04"), other = trie_without("c");
  EXPECT_EQ(writable_part(whole, one).value(), writable_part(whole, one).value());
  EXPECT_TRUE(testing::matches(writable_part(whole, one).value(), "ac"));
  EXPECT_TRUE(testing::matches(writable_part(whole, other).value(), "ax\x04"));
}

TEST(GrammarCut, RefusesWhatHasNoWritableText) {
  const auto trie = trie_without(kMissing);
  for (const char* source : {R"(root ::= "a" "\x04")", R"g(root ::= "(" root ")" | "x" "\x04")g"}) {
    const auto refused = writable_part(gbnf(source), trie);
    ASSERT_FALSE(refused.ok()) << source;
    EXPECT_EQ(refused.error().code, base::Code::kUnsupported);
    EXPECT_NE(refused.error().message.find("0x04"), std::string::npos) << refused.error().message;
  }
}

}  // namespace
}  // namespace tw::text
