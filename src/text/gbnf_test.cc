#include "text/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using testing::matches;

void expect(std::string_view source, std::vector<std::string> yes, std::vector<std::string> no) {
  const GrammarPtr grammar = testing::gbnf(source);
  for (const auto& text : yes) EXPECT_TRUE(matches(grammar, text)) << source << "\nshould accept: " << text;
  for (const auto& text : no) EXPECT_FALSE(matches(grammar, text)) << source << "\nshould refuse: " << text;
}

TEST(Gbnf, ReadsStringsClassesAndGroups) {
  expect(R"(root ::= "yes" | "no")", {"yes", "no"}, {"", "y", "yesno", "maybe"});
  expect(R"(root ::= [a-c]+ ("-" [0-9]{2,3})?)", {"a", "abc-12", "c-123"}, {"", "abc-1", "a-1234", "d"});
  expect(R"(root ::= [^"\\]* "\"")", {"\"", "ab\n\"", "\xC3\xA9\""}, {"a", "\"\"", "\xC3\""});
  expect("root ::= .{2}", {"ab", "\xC3\xA9\xF0\x9F\x98\x80", "\n\n"}, {"a", "abc", "\xC3\xA9"});
  expect(R"(root ::= "\x41\u00e9\U0001F600\t")", {"A\xC3\xA9\xF0\x9F\x98\x80\t"}, {"A"});
  expect("root ::= [a\\-\\]x-]", {"a", "-", "]", "x"}, {"b", "\\"});
}

TEST(Gbnf, ReadsRulesCommentsAndLineEnds) {
  expect(
      "# head\nroot ::= # after\n  item\n  | item \",\" root # tail\nitem ::= \"a\" | (\n \"b\"\n | \"c\" "
      ")\n",
      {"a", "a,b", "c,c,a"}, {"", ",", "a,", "ab"});
  expect("root ::= a b\na ::= \nb ::= \"x\"", {"x"}, {"", "xx"});
  expect("root ::= \"a\" |\nother ::= \"b\"", {"", "a"}, {"b"});
}

TEST(Gbnf, CountsRepetitions) {
  expect("root ::= \"ab\"{2}", {"abab"}, {"ab", "ababab"});
  expect("root ::= \"a\"{2,}", {"aa", "aaaa"}, {"a", ""});
  expect("root ::= \"a\"{0,2}", {"", "a", "aa"}, {"aaa"});
  expect("root ::= (\"a\"?){3}", {"", "a", "aaa"}, {"aaaa"});
  expect("root ::= (\"a\"*)+ \"b\"", {"b", "aab"}, {"a"});
  expect("root ::= \"a\"{0}", {""}, {"a"});
}

TEST(Gbnf, HandlesEveryKindOfRecursion) {
  expect("root ::= root \"a\" | \"b\"", {"b", "ba", "baaa"}, {"", "a", "ab"});
  expect("root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "())", ")("});
  expect("root ::= \"a\" root | \"b\"", {"b", "aaab"}, {"a", "ba"});
  expect("root ::= root | \"a\"", {"a"}, {"", "aa"});
  expect("root ::= x y\nx ::= \"a\" x | \"\"\ny ::= y \"b\" | x", {"", "aa", "aabb"}, {"ba"});
  expect("root ::= e\ne ::= e \"+\" e | e \"*\" e | \"(\" e \")\" | [0-9]", {"1+2*(3+4)", "((1))"},
         {"1+", "(1", "1 "});
  expect("root ::= a root a | b\na ::= \"a\" | \"\"\nb ::= \"b\"", {"b", "aab", "baa", "aba"}, {"", "bb"});
}

TEST(Gbnf, NamesTheFaultAndItsPlace) {
  const auto fails = [](std::string_view source, std::string_view part, base::Code code) {
    const auto grammar = compile_gbnf(source);
    ASSERT_FALSE(grammar.ok()) << source;
    EXPECT_THAT(grammar.error().text(), ::testing::HasSubstr(part)) << source;
    EXPECT_EQ(grammar.error().code, code) << source;
  };
  using base::Code;
  fails("a ::= \"x\"", "no rule 'root'", Code::kInvalidArgument);
  fails("", "no rule 'root'", Code::kInvalidArgument);
  fails("root ::= \"x\"\n  | missing", "line 2, column 5: rule 'missing'", Code::kInvalidArgument);
  fails("root ::= \"x", "closing", Code::kInvalidArgument);
  fails("root ::= [a-", "closing", Code::kInvalidArgument);
  fails("root ::= (\"a\"", "')'", Code::kInvalidArgument);
  fails("root ::= \"a\")", "should end here", Code::kInvalidArgument);
  fails("root ::= \"a\"{3,2}", "upper bound", Code::kInvalidArgument);
  fails("root ::= \"a\"{1,1000000}", "not possible", Code::kResourceExhausted);
  fails("root ::= [z-a]", "upside down", Code::kInvalidArgument);
  fails("root ::= \"\\q\"", "unknown escape", Code::kInvalidArgument);
  fails("root ::= \"\\ud800\"", "not a character", Code::kInvalidArgument);
  fails("root ::= <[12]>", "token references", Code::kUnsupported);
  fails("root ::= \"a\"\nroot ::= \"b\"", "twice", Code::kInvalidArgument);
  fails("root = \"a\"", "'::='", Code::kInvalidArgument);
  fails("root ::= root \"a\"", "no text", Code::kInvalidArgument);
  std::string nested = "root ::= ";
  nested.append(10'000, '(');
  fails(nested, "nested", Code::kResourceExhausted);
  fails("root ::= (((.{100}){100}){100}){100}", "too large", Code::kResourceExhausted);
  std::string deep = "root ::= \"a\"";
  for (int i = 0; i < 3000; ++i) deep += "{2}";
  fails(deep + " missing", "nests deeper than 2000 levels", Code::kResourceExhausted);
  std::string names = "root ::= \"a\"";
  for (int i = 0; i < 21'000; ++i) names += fmt::format(" | r{}", i);
  fails(names, "more than 20000 rules", Code::kResourceExhausted);
  fails(std::string("root ::= \"\xFF\""), "UTF-8", Code::kInvalidArgument);
  std::string many = "root ::= r0\n";  // 2000 parses before the first byte: a matcher would be stuck
  for (int i = 0; i < 2000; ++i) many += fmt::format("r{} ::= r{} r{} | \"a\"\n", i, i + 1, i + 1);
  fails(many + "r2000 ::= \"b\"", "too ambiguous", Code::kResourceExhausted);
}

}  // namespace
}  // namespace tw::text
