#include "text/regex_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using testing::matches;

void expect(std::string_view pattern, std::vector<std::string> yes, std::vector<std::string> no) {
  const auto grammar = compile_regex(pattern);
  ASSERT_TRUE(grammar.ok()) << pattern << "\n" << grammar.error().text();
  for (const auto& text : yes) EXPECT_TRUE(matches(*grammar, text)) << pattern << " should match " << text;
  for (const auto& text : no)
    EXPECT_FALSE(matches(*grammar, text)) << pattern << " should not match " << text;
}

TEST(Regex, MatchesTheWholeText) {
  expect("ab|cd*", {"ab", "c", "cdd"}, {"", "abcd", "a"});
  expect("^a(?:b|c)+?$", {"ab", "acb"}, {"a", "xab"});
  expect("(^a|b)(c$|d)", {"ac", "ad", "bc"}, {"a", "acd"});
  expect("[^a-c]{2}", {"xy", "\xC3\xA9z"}, {"ab", "x"});
  expect("\\d{2,3}-\\w\\s\\.", {"12-x .", "123-_\t."}, {"1-x .", "12-xx ."});
  expect("a.c",
         {"abc",
          "a\xF0\x9F\x98\x80"
          "c"},
         {"a\nc", "ac"});
  expect("\\u0041\\x42\\u{1F600}\\ud83d\\ude00", {"AB\xF0\x9F\x98\x80\xF0\x9F\x98\x80"}, {"AB"});
  expect("[\\d\\-x-]+", {"1-x"}, {"y"});
  expect("(?<year>\\d{4})", {"2024"}, {"24"});
  expect("", {""}, {"a"});
  expect("a{0}b|[]", {"b"}, {"", "ab"});
}

TEST(Regex, NamesALimitAndNotWhereItEnded) {
  GrammarBuilder small({.exprs = 5});
  const auto automaton = regex_automaton(small, "(abcdefgh)", RegexMatch::kWhole);
  ASSERT_FALSE(automaton.ok());
  EXPECT_EQ(automaton.error().code, base::Code::kResourceExhausted);
  EXPECT_THAT(automaton.error().text(), ::testing::HasSubstr("more than 5 parts"));
}

TEST(Regex, NamesWhatIsMissing) {
  const auto fails = [](std::string_view pattern, std::string_view part, base::Code code) {
    const auto grammar = compile_regex(pattern);
    ASSERT_FALSE(grammar.ok()) << pattern;
    EXPECT_THAT(grammar.error().text(), ::testing::HasSubstr(part));
    EXPECT_EQ(grammar.error().code, code) << pattern;
  };
  using base::Code;
  for (const char* look : {"(?=a)", "(?!a)", "(?<=a)", "(?<!a)"})
    fails(look, "look-around", Code::kUnsupported);
  fails("(a)\\1", "back-reference '\\1'", Code::kUnsupported);
  fails("\\ba", "word boundary '\\b'", Code::kUnsupported);
  fails("\\p{L}", "Unicode property", Code::kUnsupported);
  fails("(?i)a", "the group '(?i", Code::kUnsupported);
  fails("a*+", "possessive", Code::kUnsupported);
  fails("a)", "without '('", Code::kInvalidArgument);
  fails("(a", "')'", Code::kInvalidArgument);
  fails("*a", "nothing to repeat", Code::kInvalidArgument);
  fails("[b-a]", "upside down", Code::kInvalidArgument);
  fails("a{3,1}", "upper bound", Code::kInvalidArgument);
  fails("a{1,100000}", "not possible", Code::kResourceExhausted);
  fails("(((a{100}){100}){100}){100}", "states", Code::kResourceExhausted);
  fails("(a|b)*a(a|b){40}", "states", Code::kResourceExhausted);
  fails("[a", "closing", Code::kInvalidArgument);
  fails("a^b", "no text", Code::kInvalidArgument);
  fails("[^\\s\\S]", "no text", Code::kInvalidArgument);
}

TEST(Regex, AutomataCombine) {
  GrammarBuilder builder;
  const auto words = regex_automaton(builder, "[a-z]+", RegexMatch::kWhole);
  const auto with_x = regex_automaton(builder, "x", RegexMatch::kSearch);
  ASSERT_TRUE(words.ok() && with_x.ok());
  const auto both = intersect(*words, *with_x);
  ASSERT_TRUE(both.has_value());
  EXPECT_TRUE(accepts(*both, {'a', 'x'}));
  EXPECT_FALSE(accepts(*both, {'a'}));
  EXPECT_FALSE(accepts(*both, {'X', 'x'}));
  const Automaton others = complement(*both, kLastCodePoint);
  EXPECT_TRUE(accepts(others, {'a'}));
  EXPECT_TRUE(accepts(others, {}));
  EXPECT_FALSE(accepts(others, {'x'}));
  EXPECT_FALSE(intersect(*words, *regex_automaton(builder, "\\d+", RegexMatch::kWhole))->size() > 0);
}

}  // namespace
}  // namespace tw::text
