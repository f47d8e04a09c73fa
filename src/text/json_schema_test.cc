#include "text/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/grammar_test_util.h"

namespace tw::text {
namespace {

using testing::matches;

base::OrderedJson json(std::string_view text) {
  auto parsed = base::parse_ordered_json(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return *parsed;
}

void expect(std::string_view schema, std::vector<std::string> yes, std::vector<std::string> no) {
  const auto grammar = compile_json_schema(json(schema));
  ASSERT_TRUE(grammar.ok()) << schema << "\n" << grammar.error().text();
  for (const auto& text : yes) {
    EXPECT_TRUE(matches(*grammar, text)) << schema << "\nshould accept: " << text
                                         << "\nstops after: " << testing::accepted_prefix(*grammar, text);
  }
  for (const auto& text : no) EXPECT_FALSE(matches(*grammar, text)) << schema << "\nshould refuse: " << text;
}

void fails(std::string_view schema, std::string_view where, std::string_view part,
           base::Code code = base::Code::kUnsupported) {
  const auto grammar = compile_json_schema(json(schema));
  ASSERT_FALSE(grammar.ok()) << schema;
  EXPECT_EQ(grammar.error().where, where) << grammar.error().text();
  EXPECT_THAT(grammar.error().message, ::testing::HasSubstr(part)) << schema;
  EXPECT_EQ(grammar.error().code, code) << schema;
}

TEST(JsonSchema, KnowsTypes) {
  expect(R"({"type":"null"})", {"null"}, {"nul", "0", "true"});
  expect(R"({"type":"boolean"})", {"true", "false"}, {"True", "null"});
  expect(R"({"type":"integer"})", {"0", "-7", "123456789012345678"}, {"01", "-0", "1.0", "1e2", "+1", ""});
  expect(R"({"type":"number"})", {"0", "-7.25", "1e9", "1.5E-3"}, {".5", "1.", "01", "1e", "NaN"});
  expect(R"({"type":"string"})", {R"("")", R"("a\n\u00e9\ud83d\ude00\/")", "\"caf\xC3\xA9\""},
         {"\"a\nb\"", R"("\ud83d")", R"("\x")", "\"", "\"\xC3\""});
  expect(R"({"type":["string","null"]})", {"null", R"("x")"}, {"1"});
  expect(R"({"type":"string","nullable":true})", {"null", R"("x")"}, {"1"});
  expect("true", {"1", R"([{"a":[]}])", R"({"a": {}})"}, {"", "[1,,2]", "{a:1}"});
  expect("{}", {"\"x\"", "null"}, {"nil"});
}

TEST(JsonSchema, HoldsLayoutWithinBounds) {
  expect(R"({"type":"object"})", {"{}", "{ }", R"({"a":1,"b": [1, 2]})", "{\n  \"a\": 1,\n  \"b\": 2\n}"},
         {" {}", "{} ", "{\"a\" :1}", "{\"a\":  1}", "{\t}", "{\"a\":1 ,\"b\":2}"});
  expect(R"({"type":"array"})", {"[]", "[1,2]", "[1, 2]", "[\n    1,\n    2\n]"},
         {"[1 ,2]", "[\n" + std::string(50, ' ') + "1]"});
}

TEST(JsonSchema, OrdersPropertiesAndSkipsOptionalOnes) {
  const auto schema = R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{}},
                          "required":["b"],"additionalProperties":false})";
  expect(
      schema, {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"a":1,"b":"x","c":[]})", R"({"b":"","c":null})"},
      {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":1})", R"({"b":"x","d":1})", R"({"b":"x","b":"y"})"});
  expect(R"({"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":{"type":"integer"}})",
         {"{}", R"({"a":null})", R"({"a":null,"b":1,"aa":2})", R"({"b":1})", R"({"":1})"},
         {R"({"b":1,"a":null})", R"({"a":1})", R"({"b":"x"})", R"({"\u0061":1})"});
  expect(R"({"type":"object","properties":{"a":{}},"required":["z"]})", {R"({"z":1})", R"({"a":1,"z":2})"},
         {"{}"});
  expect(R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})",
         {R"({"x":1})", R"({"x":1,"y":2})"}, {"{}", R"({"x":1,"y":2,"z":3})"});
  expect(R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":2,"maxProperties":2})",
         {R"({"a":1,"b":1})", R"({"a":1,"c":1})", R"({"b":1,"c":1})"},
         {R"({"a":1})", R"({"a":1,"b":1,"c":1})"});
  expect(R"({"type":"object","properties":{"q\"\\\n":{"type":"null"}},"required":["q\"\\\n"]})",
         {R"({"q\"\\\n":null})"}, {"{}"});
  expect(R"({"type":"object","properties":{"a":false,"b":{}}})", {R"({"b":1})", "{}"}, {R"({"a":1})"});
}

TEST(JsonSchema, CountsItems) {
  expect(R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})", {"[1]", "[1,2,3]"},
         {"[]", "[1,2,3,4]", "[\"a\"]"});
  expect(R"({"type":"array","items":{"type":"integer"},"minItems":2})", {"[1,2]", "[1,2,3,4]"},
         {"[]", "[1]"});
  expect(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
  const auto tuple =
      R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"}})";
  expect(tuple, {"[]", "[1]", "[1,\"a\"]", "[1,\"a\",null,null]"}, {"[\"a\"]", "[1,2]", "[1,\"a\",1]"});
  expect(
      R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":2})",
      {"[1,\"a\"]"}, {"[1]", "[1,\"a\",null]"});
  expect(R"({"type":"array","items":[{"type":"integer"}],"additionalItems":false})", {"[]", "[1]"},
         {"[1,1]"});
}

TEST(JsonSchema, HoldsConstants) {
  expect(R"({"enum":["a",1,null,true,[1,{"b":2}]]})", {"\"a\"", "1", "null", "true", "[1, {\"b\": 2}]"},
         {"\"b\"", "2", "false", "[1]"});
  expect(R"({"type":"string","enum":["a",1]})", {"\"a\""}, {"1"});
  expect(R"({"const":"x\ny\"\u0001"})", {R"("x\ny\"\u0001")"}, {"\"x\""});
  expect(R"({"enum":["aa","b","cc"],"minLength":2,"pattern":"^a"})", {"\"aa\""}, {"\"cc\"", "\"b\""});
  expect(R"({"enum":[1,5,9],"minimum":2,"exclusiveMaximum":9})", {"5"}, {"1", "9"});
  fails(R"({"type":"string","enum":[1]})", "", "no text", base::Code::kInvalidArgument);
  fails(R"({"enum":[{"a":1}],"required":["b"]})", "#/required", "enum");
}

TEST(JsonSchema, CombinesSchemas) {
  expect(R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"a\""}, {"null"});
  expect(R"({"type":"object","properties":{"k":{"enum":["x","y"]},"v":{}},"required":["k"],
             "anyOf":[{"required":["v"]},{"properties":{"k":{"const":"x"}}}]})",
         {R"({"k":"x"})", R"({"k":"y","v":1})"}, {R"({"k":"y"})"});
  expect(R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
                      {"properties":{"b":{"type":"string"},"a":{"minimum":3}}}],"type":"object"})",
         {R"({"a":3})", R"({"a":4,"b":""})"}, {R"({"a":2})", "{}"});
  expect(R"({"oneOf":[{"type":"object","properties":{"t":{"const":1}},"required":["t"]},
                      {"type":"object","properties":{"t":{"const":2}},"required":["t"]}]})",
         {R"({"t":1})", R"({"t":2})"}, {R"({"t":3})"});
  fails(R"({"properties":{"p":{"oneOf":[{"type":"integer"},{"type":"number"}]}}})", "#/properties/p/oneOf",
        "disjoint");
  expect(R"({"allOf":[{"type":["integer","string"]},{"type":["string","null"]}]})", {"\"a\""}, {"1", "null"});
}

TEST(JsonSchema, FollowsReferences) {
  expect(R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"],
             "additionalProperties":false}}})",
         {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
         {R"({"v":1})", R"({"v":1,"next":1})"});
  expect(R"({"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"}}}})",
         {"{}", R"({"kids":[{},{"kids":[{}]}]})"}, {R"({"kids":[1]})"});
  expect(R"({"definitions":{"a/b~":{"type":"null"}},"$ref":"#/definitions/a~1b~0"})", {"null"}, {"1"});
  fails(R"({"$ref":"#/$defs/x"})", "#/$ref", "leads nowhere", base::Code::kInvalidArgument);
  fails(R"({"$ref":"http://x/y"})", "#/$ref", "leaves the document");
  fails(R"({"$ref":"#"})", "#", "refers to itself", base::Code::kInvalidArgument);
  fails(
      R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"required":["a"]}}})",
      "", "no text", base::Code::kInvalidArgument);
}

TEST(JsonSchema, MatchesDecodedStrings) {
  expect(R"({"type":"string","pattern":"^[a-c\"\\\\\n]+$"})", {R"("ab")", R"("\"\\\n")"},
         {R"("d")", "\"\"", R"("\u0061")"});
  expect(R"({"type":"string","pattern":"b"})",
         {R"("abc")", R"("b")",
          "\"\xC3\xA9"
          "b\""},
         {R"("ac")"});
  expect(R"({"type":"string","minLength":2,"maxLength":3})",
         {R"("ab")", "\"\xC3\xA9\xF0\x9F\x98\x80\"", R"("\u0041\nb")", R"("\ud83d\ude00x")"},
         {R"("a")", R"("abcd")", R"("\ud83d\ude00")"});
  expect(R"({"type":"string","pattern":"^a*$","minLength":1,"maxLength":2})", {R"("a")", R"("aa")"},
         {R"("")", R"("aaa")"});
  expect(R"({"type":"string","format":"date"})", {R"("2024-02-29")", R"("1999-12-31")"},
         {R"("2023-02-29")", R"("2024-13-01")", R"("0000-01-01")", R"("1900-02-29")"});
  expect(R"({"type":"string","format":"date-time"})",
         {R"("2024-02-29T23:59:59Z")", R"("2024-01-01T00:00:00.5+01:00")"},
         {R"("2024-01-01")", R"("2024-01-01T24:00:00Z")"});
  expect(R"({"type":"string","format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"},
         {R"("123e4567")"});
  expect(R"({"type":"string","format":"ipv4"})", {R"("127.0.0.1")"}, {R"("256.0.0.1")", R"("1.2.3")"});
  expect(R"({"type":"string","format":"ipv6"})",
         {R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("fe80::1:2")", R"("::")"},
         {R"("1:2:3")", R"(":::")", R"("1::2::3")"});
  fails(R"x({"type":"string","pattern":"(?=a)"})x", "#/pattern", "look-around");
  fails(R"({"type":"string","pattern":"\\bx"})", "#/pattern", "word boundary");
  fails(R"({"properties":{"a/b":{"type":"string","format":"idn-email"}}})", "#/properties/a~1b/format",
        "idn-email");
  fails(R"({"type":"string","maxLength":1000000})", "#/maxLength", "above");
  fails(R"({"type":"string","minLength":-1})", "#/minLength", "not negative", base::Code::kInvalidArgument);
}

TEST(JsonSchema, BoundsNumbersExactly) {
  for (const auto& [lo, hi] :
       std::vector<std::pair<int, int>>{{0, 0}, {-5, 5}, {7, 123}, {-120, -7}, {99, 100}, {-1, 0}}) {
    const auto schema = base::OrderedJson{{"type", "integer"}, {"minimum", lo}, {"maximum", hi}};
    const auto grammar = compile_json_schema(schema);
    ASSERT_TRUE(grammar.ok()) << grammar.error().text();
    for (int i = -1300; i <= 1300; ++i)
      EXPECT_EQ(matches(*grammar, std::to_string(i)), lo <= i && i <= hi) << i;
  }
  expect(R"({"type":"integer","exclusiveMinimum":0,"maximum":10.5})", {"1", "10"}, {"0", "11", "-1"});
  expect(R"({"type":"integer","minimum":-2.5})", {"-2", "0", "999999999999999999"}, {"-3"});
  expect(R"({"type":"integer","multipleOf":7,"minimum":-30,"maximum":30})", {"0", "7", "28", "-14"},
         {"1", "35", "-35"});
  expect(R"({"type":"number","minimum":0,"maximum":1})", {"0", "0.0", "0.5", "1", "1.0", "0.99999"},
         {"-0.1", "1.01", "2", "1e0", "-0"});
  expect(R"({"type":"number","exclusiveMinimum":-1.25,"exclusiveMaximum":10.5})",
         {"-1.2", "-1.24999", "0", "10.49", "-1", "-0.5"},
         {"-1.25", "-1.250", "10.5", "10.50", "10.6", "-2"});
  expect(R"({"type":"number","minimum":100})", {"100", "100.0", "100.1", "99999"}, {"99.9", "-100", "9"});
  expect(R"({"type":"number","maximum":-0.001})", {"-0.001", "-1", "-55.5"}, {"0", "-0.0001", "1"});
  fails(R"({"type":"number","multipleOf":0.01})", "#/multipleOf", "multipleOf");
  fails(R"({"type":"integer","minimum":0,"exclusiveMinimum":true})", "#/exclusiveMinimum", "draft 4");
}

TEST(JsonSchema, NamesWhatCannotBeEnforced) {
  fails(R"({"properties":{"a":{"items":{"not":{}}}}})", "#/properties/a/items/not", "'not'");
  fails(R"({"if":{},"then":{}})", "#/if", "'if'");
  fails(R"({"type":"array","uniqueItems":true})", "#/uniqueItems", "uniqueItems");
  fails(R"({"type":"object","patternProperties":{"a":{}}})", "#/patternProperties", "patternProperties");
  fails(R"({"anyOf":[{},{"type":"string","made-up":1}]})", "#/anyOf/1/made-up", "made-up");
  fails(R"({"type":"text"})", "#/type", "unknown type", base::Code::kInvalidArgument);
  fails("3", "#", "object or a boolean", base::Code::kInvalidArgument);
  fails("false", "", "no text", base::Code::kInvalidArgument);
}

}  // namespace
}  // namespace tw::text
