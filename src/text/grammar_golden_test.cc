// What Python's jsonschema and re say (tools/make_grammar_golden.py), against our grammars.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

base::OrderedJson read_golden(const std::string& name) {
  std::ifstream file(std::string(TW_SOURCE_DIR) + "/tests/data/grammar/" + name);
  std::stringstream text;
  text << file.rdbuf();
  auto parsed = base::parse_ordered_json(text.str());
  EXPECT_TRUE(parsed.ok()) << name;
  return parsed.ok() ? *parsed : base::OrderedJson::array();
}

std::size_t compare(const base::OrderedJson& entry, const GrammarPtr& grammar, const std::string& what) {
  std::size_t count = 0;
  for (const auto& text : entry["accept"]) {
    ++count;
    const auto& bytes = text.get_ref<const std::string&>();
    EXPECT_TRUE(testing::matches(grammar, bytes)) << what << "\nshould accept " << bytes << "\nstops after "
                                                  << testing::accepted_prefix(grammar, bytes);
  }
  for (const auto& text : entry["reject"]) {
    ++count;
    EXPECT_FALSE(testing::matches(grammar, text.get_ref<const std::string&>()))
        << what << "\nshould refuse " << text;
  }
  return count;
}

TEST(GrammarGolden, RegexesAgreeWithPython) {
  std::size_t count = 0;
  for (const auto& entry : read_golden("regex_golden.json")) {
    const auto pattern = entry["pattern"].get<std::string>();
    const auto grammar = compile_regex(pattern);
    ASSERT_TRUE(grammar.ok()) << pattern << ": " << grammar.error().text();
    count += compare(entry, *grammar, pattern);
  }
  EXPECT_GT(count, 2000U);
}

TEST(GrammarGolden, SchemasAgreeWithPython) {
  std::size_t count = 0;
  for (const auto& entry : read_golden("json_schema_golden.json")) {
    const std::string schema = base::dump_json(entry["schema"]);
    const auto grammar = compile_json_schema(entry["schema"]);
    ASSERT_TRUE(grammar.ok()) << schema << ": " << grammar.error().text();
    count += compare(entry, *grammar, schema);
  }
  EXPECT_GT(count, 2500U);
}

/// Random walks through every schema: each finished text is JSON, and the schema's grammar agrees with itself
/// when the text comes byte by byte.
TEST(GrammarGolden, RandomWalksYieldJson) {
  const auto trie = testing::sample_trie();
  std::mt19937 random(7);
  int finished = 0;
  for (const auto& entry : read_golden("json_schema_golden.json")) {
    const auto grammar = compile_json_schema(entry["schema"]);
    ASSERT_TRUE(grammar.ok());
    for (int run = 0; run < 4; ++run) {
      std::string text;
      if (!testing::random_walk(*grammar, trie, random, 150, false, text)) continue;
      ++finished;
      EXPECT_TRUE(base::parse_json(text, 500).ok()) << text;
      EXPECT_TRUE(testing::matches(*grammar, text)) << text;
    }
  }
  EXPECT_GT(finished, 300);
}

}  // namespace
}  // namespace tw::text
