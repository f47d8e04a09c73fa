#include "text/tool_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using Calls = std::vector<std::pair<std::string, std::string>>;

struct Sum {
  std::string content;
  Calls calls;
  bool operator==(const Sum&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Sum& sum) {
  out << "content '" << sum.content << "'";
  for (const auto& [name, arguments] : sum.calls) out << " call " << name << " " << arguments;
  return out;
}

void add(Sum& sum, const ToolDelta& delta) {
  sum.content += delta.content;
  for (const auto& call : delta.calls) {
    if (call.started) {
      ASSERT_EQ(call.index, sum.calls.size());
      sum.calls.emplace_back(call.name, "");
    }
    ASSERT_LT(call.index, sum.calls.size());
    sum.calls[call.index].second += call.arguments;
  }
}

/// The sum for the whole text at once; every other way to cut it must give the same.
Sum parse(ToolStyle style, const std::string& text) {
  Sum whole;
  ToolCallParser parser(style);
  add(whole, parser.push(text));
  add(whole, parser.finish());
  std::mt19937 random(5);
  for (int run = 0; run < 25; ++run) {
    Sum cut;
    ToolCallParser pieces(style);
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t length = run == 0 ? 1 : 1 + random() % (run < 10 ? 4 : 20);
      add(cut, pieces.push(std::string_view(text).substr(pos, length)));
      pos += length;
    }
    add(cut, pieces.finish());
    EXPECT_EQ(whole, cut) << text;
  }
  return whole;
}

void expect(ToolStyle style, const std::string& text, const std::string& content, const Calls& calls) {
  EXPECT_EQ(parse(style, text), (Sum{content, calls})) << text;
}

TEST(ToolCall, ReadsHermes) {
  const auto h = ToolStyle::kHermes;
  expect(h, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}\n</tool_call>", "",
         {{"f", "{\"a\": [1, \"}\"]}"}});
  expect(h,
         "Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"arguments\": "
         "{\"x\": 1}, "
         "\"name\": \"g\\u00e9\"}</tool_call>\n",
         "Let me see.\n", {{"f", "{}"}, {"g\xC3\xA9", "{\"x\": 1}"}});
  expect(h, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>", "",
         {{"f", "{\"a\":1}"}});
  expect(h, "<tool_call>{\"name\":\"f\"}</tool_call>done", "done", {{"f", "{}"}});
  expect(h, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}", "", {{"f", "{\"a\":1}"}});
  expect(h, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1", "", {{"f", "{\"a\":1"}});
  expect(h, "<tool_call>{\"name\":\"f\",\"arguments\":{\"name\":\"g\"},\"id\":\"x\"}</tool_call> bye", " bye",
         {{"f", "{\"name\":\"g\"}"}});
}

TEST(ToolCall, GivesBackWhatIsNoCall) {
  const auto h = ToolStyle::kHermes;
  for (const std::string text :
       {"no call at all", "a < b <tool", "<tool_call>", "<tool_call>text</tool_call>",
        "<tool_call>{\"a\":1}</tool_call>", "<tool_call>{\"name\":\"f\"",
        "<tool_call>{\"name\":1,\"arguments\":{}}", "<tool_call>{\"name\":\"\",\"arguments\":{}}",
        "<tool_call>{'name':'f'}", "<tool_call><tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>"}) {
    expect(h, text, text, {});
  }
  expect(h, "<tool_call>{\"oops\" <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
         "<tool_call>{\"oops\" ", {{"f", "{}"}});
  expect(h, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":oops}} x", "oops}} x", {{"f", "{\"a\":"}});
  expect(ToolStyle::kNone, "<tool_call>{}", "<tool_call>{}", {});
}

TEST(ToolCall, ReadsLlama) {
  const auto l = ToolStyle::kLlama3;
  expect(l, "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", "", {{"f", "{\"a\": \"b\"}"}});
  expect(l, "\n<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}\n", "",
         {{"f", "{}"}});
  expect(l, "{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{\"x\":2}}", "",
         {{"f", "{}"}, {"g", "{\"x\":2}"}});
  expect(l, "{\"name\":\"f\",\"arguments\":{}} so", " so", {{"f", "{}"}});
  for (const std::string text :
       {"Hello {\"name\":\"f\",\"parameters\":{}}", "{\"name\": \"Bob\"}", "{\"a\": 1}", "  ", "<|pyth",
        "<|python_tag|>search.call(query=\"x\")", "{\"name\":\"f\",\"parameters\":7}", "{"}) {
    expect(l, text, text, {});
  }
}

TEST(ToolCall, BareObjectsCallWhatThereIs) {
  const std::string text = "{\"name\": \"Paris\", \"parameters\": {\"a\": 1}}";
  const auto calls = [&](ToolStyle style, std::vector<std::string> names, const std::string& answer) {
    ToolCallParser parser(style, std::move(names));
    const std::size_t early = parser.push(answer).calls.size();
    return early + parser.finish().calls.size();
  };
  EXPECT_EQ(calls(ToolStyle::kLlama3, {"get_weather"}, text), 0U);
  EXPECT_EQ(calls(ToolStyle::kLlama3, {"get_weather", "Paris"}, text), 1U);
  EXPECT_EQ(calls(ToolStyle::kLlama3, {}, text), 1U);
  ToolCallParser parser(ToolStyle::kLlama3, {"f"});
  EXPECT_EQ(parser.push(text).content + parser.finish().content, text);
  // Between marks it is a call whatever its name: the client is told what the model wanted.
  EXPECT_EQ(calls(ToolStyle::kHermes, {"get_weather"}, "<tool_call>" + text + "</tool_call>"), 1U);
}

TEST(ToolCall, ReadsMistral) {
  const auto m = ToolStyle::kMistral;
  expect(m,
         "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
         "", {{"f", "{\"a\": 1}"}, {"g", "{}"}});
  expect(m, "Sure. [TOOL_CALLS] [{\"arguments\":{},\"name\":\"f\",\"id\":\"abc123def\"}] ", "Sure. ",
         {{"f", "{}"}});
  expect(m, "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}, nonsense", ", nonsense", {{"f", "{}"}});
  for (const std::string text : {"[TOOL", "[TOOL_CALLS]", "[TOOL_CALLS]f{}", "[TOOL_CALLS][]", "[1, 2]"})
    expect(m, text, text, {});
}

TEST(ToolCall, StreamsArguments) {
  ToolCallParser parser(ToolStyle::kHermes);
  EXPECT_TRUE(parser.push("<tool_call>{\"name\": \"f\", \"arguments\": ").empty());
  const ToolDelta first = parser.push("{\"a\"");
  ASSERT_EQ(first.calls.size(), 1U);
  EXPECT_TRUE(first.calls[0].started);
  EXPECT_EQ(first.calls[0].name, "f");
  EXPECT_EQ(first.calls[0].arguments, "{\"a\"");
  const ToolDelta second = parser.push(": 1}}</tool");
  ASSERT_EQ(second.calls.size(), 1U);
  EXPECT_FALSE(second.calls[0].started);
  EXPECT_EQ(second.calls[0].arguments, ": 1}");
  EXPECT_TRUE(parser.push("_call>").empty());
  EXPECT_EQ(parser.call_count(), 1U);
}

TEST(ToolCall, NothingIsLostWhateverTheText) {
  const std::vector<std::string> parts{"<tool_call>",
                                       "</tool_call>",
                                       "{\"name\":\"f\",\"arguments\":{\"a\":1}}",
                                       "{",
                                       "}",
                                       "\"",
                                       "name",
                                       "\n",
                                       " ",
                                       ",",
                                       "[TOOL_CALLS]",
                                       "[",
                                       "]",
                                       "<|python_tag|>",
                                       ";",
                                       "\\",
                                       "x",
                                       "<tool",
                                       "null",
                                       "{\"name\":\"f\",\"parameters\":{}}",
                                       "\"arguments\":",
                                       ":",
                                       "1.5"};
  std::mt19937 random(11);
  for (int run = 0; run < 600; ++run) {
    std::string text;
    for (int i = 0; i < 9; ++i) text += parts[random() % parts.size()];
    for (const ToolStyle style :
         {ToolStyle::kHermes, ToolStyle::kLlama3, ToolStyle::kMistral, ToolStyle::kNone}) {
      const Sum sum = parse(style, text);
      if (sum.calls.empty()) {
        EXPECT_EQ(sum.content, text);
      }
    }
  }
}

TEST(ToolCall, HostileTextCostsLittle) {
  std::string nested;
  for (int i = 0; i < 20'000; ++i) nested += "<tool_call>{\"a\":\"";
  ToolCallParser parser(ToolStyle::kHermes);
  std::string content = parser.push(nested).content;
  content += parser.finish().content;
  EXPECT_EQ(content, nested);
  std::string deep = "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":";
  deep.append(10'000, '[');
  EXPECT_EQ(parse_tool_calls(ToolStyle::kHermes, deep).calls.size(), 1U);
}

TEST(ToolCall, DetectsStyles) {
  EXPECT_EQ(detect_tool_style("<tool_call>\\n{\"name\": x, \"arguments\": y}"), ToolStyle::kHermes);
  EXPECT_EQ(detect_tool_style("{{- '[TOOL_CALLS][' }}"), ToolStyle::kMistral);
  EXPECT_EQ(detect_tool_style("<|python_tag|> ... \"parameters\": "), ToolStyle::kLlama3);
  EXPECT_EQ(detect_tool_style("[TOOL_CALLS]name[ARGS]{"), ToolStyle::kNone);
  EXPECT_EQ(detect_tool_style("<tool_call><function=x>"), ToolStyle::kNone);
  EXPECT_EQ(detect_tool_style("{{ messages }}"), ToolStyle::kNone);
}

base::OrderedJson sample_tools() {
  return *base::parse_ordered_json(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":
       {"city":{"type":"string"},"unit":{"enum":["c","f"]}},"required":["city"]}}},
    {"type":"function","function":{"name":"now"}}])");
}

TEST(ToolGrammar, ForcesWellFormedCalls) {
  const auto grammar = tool_call_grammar(ToolStyle::kHermes, sample_tools(), true, std::nullopt);
  ASSERT_TRUE(grammar.ok()) << grammar.error().text();
  const std::string weather =
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
  const std::string now = "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>";
  EXPECT_TRUE(testing::matches(*grammar, weather));
  EXPECT_TRUE(testing::matches(*grammar, now + weather));
  EXPECT_FALSE(testing::matches(*grammar, ""));
  EXPECT_FALSE(testing::matches(*grammar, "Hello"));
  EXPECT_FALSE(
      testing::matches(*grammar, "<tool_call>{\"name\":\"now\",\"arguments\":{\"city\":\"x\"}}</tool_call>"));

  const auto named = tool_call_grammar(ToolStyle::kMistral, sample_tools(), false, "now");
  ASSERT_TRUE(named.ok());
  EXPECT_TRUE(testing::matches(*named, "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}]"));
  EXPECT_FALSE(testing::matches(
      *named, "[TOOL_CALLS][{\"name\":\"now\",\"arguments\":{}},{\"name\":\"now\",\"arguments\":{}}]"));
  const auto llama = tool_call_grammar(ToolStyle::kLlama3, sample_tools(), true, std::nullopt);
  ASSERT_TRUE(llama.ok());
  EXPECT_TRUE(testing::matches(
      *llama, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"x\", \"unit\": \"c\"}}"));
}

TEST(ToolGrammar, WhatItForcesTheParserReads) {
  const auto trie = testing::sample_trie();
  std::mt19937 random(4);
  int finished = 0;
  for (const ToolStyle style : {ToolStyle::kHermes, ToolStyle::kLlama3, ToolStyle::kMistral}) {
    const auto grammar = tool_call_grammar(style, sample_tools(), true, std::nullopt);
    ASSERT_TRUE(grammar.ok());
    for (int run = 0; run < 15; ++run) {
      std::string text;
      if (!testing::random_walk(*grammar, trie, random, 500, false, text)) continue;
      ++finished;
      const ParsedAnswer answer = parse_tool_calls(style, text);
      EXPECT_EQ(answer.content, "") << text;
      EXPECT_GE(answer.calls.size(), 1U) << text;
      for (const ToolCall& call : answer.calls)
        EXPECT_TRUE(base::parse_json(call.arguments_json).ok()) << text;
    }
  }
  EXPECT_GT(finished, 20);
}

TEST(ToolGrammar, NamesFaults) {
  const auto fails = [](ToolStyle style, const base::OrderedJson& tools, bool required,
                        std::optional<std::string> name, std::string_view part) {
    const auto grammar = tool_call_grammar(style, tools, required, name);
    ASSERT_FALSE(grammar.ok());
    EXPECT_THAT(grammar.error().text(), ::testing::HasSubstr(part));
  };
  const auto h = ToolStyle::kHermes;
  fails(h, sample_tools(), true, "other", "'other'");
  fails(h, base::OrderedJson::array(), true, std::nullopt, "'tools'");
  fails(h, sample_tools(), false, std::nullopt, "auto");
  fails(ToolStyle::kNone, sample_tools(), true, std::nullopt, "template");
  fails(h, *base::parse_ordered_json(R"([{"function":{}}])"), true, std::nullopt, "#/tools/0");
  fails(h, *base::parse_ordered_json(R"([{"function":{"name":"f","parameters":{"not":{}}}}])"), true,
        std::nullopt, "#/tools/0/function/parameters/not");
}

}  // namespace
}  // namespace tw::text
