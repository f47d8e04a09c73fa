// The helpers declared in grammar_test_util.h.
#include <gtest/gtest.h>

#include "text/grammar_test_util.h"

namespace tw::text::testing {

std::shared_ptr<const Grammar> gbnf(std::string_view source) {
  const auto grammar = compile_gbnf(source);
  TW_CHECK(grammar.ok(), grammar.error().text().c_str());
  return *grammar;
}

std::vector<std::string> sample_pieces() {
  std::vector<std::string> pieces;
  for (int b = 0; b < 256; ++b) pieces.emplace_back(1, static_cast<char>(b));
  for (const std::string word :
       {"the",          "a",  "name", "value", "is",     "of",     "true",        "false",
        "null",         "id", "type", "x",     "string", "number", "caf\xC3\xA9", "\xE4\xBD\xA0",
        "na\xC3\xAFve", "e",  "er",   "ing"}) {
    for (const std::string& form :
         {word, " " + word, "\"" + word, word + "\"", "\"" + word + "\"", " \"" + word,
          word + "\":", "\"" + word + "\":", word + "\",", word + "\"}"}) {
      pieces.push_back(form);
    }
  }
  for (const char* text : {"{\"",         "\":",          "\": ",        "\": \"",       "\",",
                           "\", \"",      "\"}",          "\"]",         "},",           "}, {",
                           "}}",          "]}",           "[[",          "[]",           "{}",
                           "[\"",         "},\n",         "{\n",         "[\n",          ",\n",
                           "\n ",         "\n  ",         "\n    ",      "  ",           "    ",
                           "        ",    "\": {\"",      "\": [",       "\\n",          "\\\"",
                           "\\u",         "\\u00",        "00",          "10",           "19",
                           "20",          "42",           "99",          "100",          "123",
                           "2024",        "-1",           "-",           "0.",           ".5",
                           ".0",          "e+",           "1e",          "E-",           "\xE4\xBD",
                           "\xF0\x9F",    "\xF0\x9F\x98", "\x98\x80",    "\xA0\"",       "\xE2\x82\xAC",
                           "aa",          "aaa",          "aaaa",        "((",           "))",
                           "()",          "(((",          "<tool_call>", "</tool_call>", "\n</tool_call>",
                           "[TOOL_CALLS]"}) {
    pieces.emplace_back(text);
  }
  pieces.emplace_back("");   // a token without text
  pieces.emplace_back("a");  // two tokens with the same text
  return pieces;
}

std::shared_ptr<const TokenTrie> sample_trie() {
  return std::make_shared<const TokenTrie>(sample_pieces(), std::vector<bool>{});
}

namespace {
std::shared_ptr<const TokenTrie> byte_trie() {
  return std::make_shared<const TokenTrie>(std::vector<std::string>{"a"}, std::vector<bool>{});
}

void check_mask(const GrammarMatcher& matcher, const TokenTrie& trie,
                const std::vector<std::uint32_t>& mask) {
  for (std::int32_t t = 0; t < trie.vocab_size(); ++t) {
    GrammarMatcher copy = matcher;
    ASSERT_EQ(copy.accept(t), bit(mask, t)) << "token " << t << " '" << trie.piece(t) << "'";
  }
}
}  // namespace

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarMatcher matcher(grammar, byte_trie());
  return matcher.accept_text(text) && matcher.can_end();
}

std::string accepted_prefix(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarMatcher matcher(grammar, byte_trie());
  std::string prefix;
  for (const char c : text) {
    if (!matcher.accept_text(std::string_view(&c, 1))) break;
    prefix += c;
  }
  return prefix;
}

bool random_walk(const std::shared_ptr<const Grammar>& grammar, const std::shared_ptr<const TokenTrie>& trie,
                 std::mt19937& random, int hard_limit, bool check, std::string& out) {
  GrammarMatcher matcher(grammar, trie);
  std::vector<std::uint32_t> mask(trie->mask_words());
  out.clear();
  for (int step = 0; step < hard_limit; ++step) {
    matcher.fill_mask(mask);
    if (check) check_mask(matcher, *trie, mask);
    if (::testing::Test::HasFatalFailure()) return false;
    std::vector<std::int32_t> allowed;
    for (std::int32_t t = 0; t < trie->vocab_size(); ++t) {
      if (bit(mask, t)) allowed.push_back(t);
    }
    if (matcher.can_end() && (allowed.empty() || random() % 4 == 0)) return true;
    EXPECT_FALSE(allowed.empty()) << "dead end after: " << out;
    if (allowed.empty()) return false;
    const std::int32_t token = allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.accept(token));
    out += trie->piece(token);
  }
  return false;
}

}  // namespace tw::text::testing
