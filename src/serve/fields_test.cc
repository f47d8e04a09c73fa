// The tables: every row is checked for type and range, and every message names the field.
#include "serve/fields.h"
#include "serve/adapter_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/mmap.h"
#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/constraint.h"
#include "serve/tokenize_request.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kHello = R"("messages":[{"role":"user","content":"Hi"}])";

base::Result<ChatRequest> chat(const std::string& more) {
  return parse_chat_request("{" + std::string(kHello) + (more.empty() ? "" : ",") + more + "}", {});
}

base::Result<CompletionRequest> completion(const std::string& members) {
  return parse_completion_request("{" + members + "}", {});
}

TEST(Fields, ReadsAChatRequest) {
  const auto r =
      chat(R"("model":"m","temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,"max_completion_tokens":7,
      "n":2,"stop":["a","b"],"seed":-1,"stream":true,"stream_options":{"include_usage":true},"logprobs":true,
      "top_logprobs":3,"logit_bias":{"5":-100},"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.1,
      "ignore_eos":true,"user":"u")");
  ASSERT_TRUE(r.ok()) << r.error().text();
  EXPECT_EQ(r->model, "m");
  EXPECT_FLOAT_EQ(r->sampling.temperature, 0.5F);
  EXPECT_EQ(r->sampling.top_k, 40);
  EXPECT_EQ(r->max_tokens, 7);
  EXPECT_EQ(r->n, 2);
  EXPECT_EQ(r->stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r->seed, ~std::uint64_t{0});
  EXPECT_TRUE(r->stream && r->include_usage && r->logprobs && r->ignore_eos);
  EXPECT_EQ(r->top_logprobs, 3);
  EXPECT_EQ(r->sampling.logit_bias, (std::vector<std::pair<std::int32_t, float>>{{5, -100.0F}}));
  EXPECT_TRUE(r->ignored.empty());
}

TEST(Fields, KeepsTheModelsDefaults) {
  infer::SamplingParams defaults;
  defaults.temperature = 0.3F;
  defaults.top_k = 50;
  const auto r =
      parse_chat_request("{" + std::string(kHello) + R"(,"top_k":-1,"temperature":null})", defaults);
  ASSERT_TRUE(r.ok());
  EXPECT_FLOAT_EQ(r->sampling.temperature, 0.3F);
  EXPECT_EQ(r->sampling.top_k, 0);
}

/// For each row with a range: one step beyond either end is refused by name, and both ends are taken.
template <typename Request>
void check_ranges(std::span<const Field<Request>> table) {
  for (const Field<Request>& field : table) {
    const FieldRule& rule = field.rule;
    if (rule.type != FieldType::kNumber && rule.type != FieldType::kInteger) continue;
    ASSERT_TRUE(std::isfinite(rule.low) && std::isfinite(rule.high)) << rule.name;
    EXPECT_TRUE(check_field(rule, Value(rule.low)).ok()) << rule.name;
    EXPECT_TRUE(check_field(rule, Value(rule.high)).ok()) << rule.name;
    const auto low = check_field(rule, Value(std::nextafter(rule.low - 1, -INFINITY)));
    const auto high = check_field(rule, Value(std::nextafter(rule.high + 1, INFINITY)));
    ASSERT_FALSE(low.ok() || high.ok()) << rule.name;
    EXPECT_EQ(high.error().where, rule.name);
    EXPECT_THAT(high.error().message, HasSubstr(describe(rule)));
  }
}

TEST(Fields, EveryRangeIsEnforced) {
  check_ranges(generate_fields());
  check_ranges(chat_fields());
  check_ranges(completion_fields());
  check_ranges(embedding_fields());
}

/// Each row refuses a value of another type.
template <typename Request>
void check_types(std::span<const Field<Request>> table) {
  for (const Field<Request>& field : table) {
    if (field.rule.type == FieldType::kAny) continue;
    const Value wrong = field.rule.type == FieldType::kBool ? Value("true") : Value(true);
    EXPECT_FALSE(check_field(field.rule, wrong).ok()) << field.rule.name;
  }
}

TEST(Fields, EveryTypeIsEnforced) {
  check_types(generate_fields());
  check_types(chat_fields());
  check_types(completion_fields());
  check_types(embedding_fields());
  check_types(tokenize_fields());
  check_types(detokenize_fields());
}

TEST(Fields, WordsTheMessage) {
  const auto r = chat(R"("temperature":-5)");
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "temperature must be a number from 0 to 2, but is -5");
  EXPECT_EQ(r.error().where, "temperature");
  EXPECT_EQ(chat(R"("n":1.5)").error().message, "n must be an integer from 1 to 128, but is 1.5");
}

TEST(Fields, NamesWhatItIgnores) {
  const auto r = chat(R"("frobnicate":1,"store":true)");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(ignored_header(r->ignored), "frobnicate, store");
  EXPECT_EQ(ignored_header({"a\r\nb", std::string(100, 'x')}), "a??b, " + std::string(40, 'x'));
}

TEST(Fields, RefusesHostileBodies) {
  EXPECT_THAT(parse_chat_request("{\"messages\": nope}", {}).error().message, HasSubstr("byte 14"));
  EXPECT_FALSE(parse_chat_request("[]", {}).ok());
  EXPECT_FALSE(parse_chat_request(std::string(100000, '['), {}).ok());
  std::string many = "{";
  for (int i = 0; i < 5000; ++i) many += fmt::format("\"a{}\":1,", i);
  const auto r = parse_chat_request(many + "\"b\":1}", {});
  ASSERT_FALSE(r.ok());
  EXPECT_THAT(r.error().message, HasSubstr("more than 1024 members"));
  EXPECT_FALSE(chat(R"("seed":1e300)").ok());
  EXPECT_TRUE(chat(R"("seed":9223372036854775807)").ok());
}

TEST(Fields, ChecksFieldsAgainstEachOther) {
  EXPECT_EQ(chat(R"("top_logprobs":2)").error().where, "top_logprobs");
  EXPECT_EQ(chat(R"("tool_choice":"required")").error().where, "tool_choice");
  EXPECT_EQ(chat(R"("regex":"a","grammar":"root ::= \"a\"")").error().where, "grammar");
  EXPECT_EQ(parse_chat_request("{}", {}).error().where, "messages");
  EXPECT_EQ(completion(R"("prompt":"a","max_tokens":0)").error().where, "max_tokens");
  EXPECT_EQ(completion(R"("max_tokens":1)").error().where, "prompt");
  EXPECT_EQ(completion(R"("prompt":"a","suffix":"b")").error().code, base::Code::kUnsupported);
  EXPECT_TRUE(completion(R"("prompt":"a","max_tokens":0,"echo":true)").ok());
}

TEST(Fields, TakesStopInBothForms) {
  EXPECT_EQ(chat(R"("stop":"x")")->stop, std::vector<std::string>{"x"});
  EXPECT_EQ(chat(R"("stop":[""])").error().where, "stop");
  EXPECT_EQ(chat(R"("stop":[1])").error().where, "stop");
  std::string list = "\"s\"";
  for (int i = 0; i < 16; ++i) list += ",\"s\"";
  EXPECT_THAT(chat("\"stop\":[" + list + "]").error().message, HasSubstr("at most 16"));
}

TEST(Fields, TakesPromptsInAllForms) {
  const auto prompts = [](const std::string& json) { return completion("\"prompt\":" + json)->prompts; };
  EXPECT_EQ(prompts(R"("abc")"), std::vector<Prompt>{"abc"});
  EXPECT_EQ(prompts(R"(["a","b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1,2]"), (std::vector<Prompt>{std::vector<std::int32_t>{1, 2}}));
  EXPECT_EQ(prompts("[[1],[2,3]]"),
            (std::vector<Prompt>{std::vector<std::int32_t>{1}, std::vector<std::int32_t>{2, 3}}));
  for (const char* bad : {"[1,-2]", "[1,\"a\"]", "[1.5]", "[]", "3", "[[1],2]", "[99999999999]"}) {
    EXPECT_FALSE(completion(std::string("\"prompt\":") + bad).ok()) << bad;
  }
}

TEST(Messages, BringsThemIntoTheTemplatesForm) {
  const auto r = parse_chat_request(R"({"messages":[
      {"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"b\":1,\"a\":2}"}}]},
      {"role":"tool","tool_call_id":"1","content":"42"}]})",
                                    {});
  ASSERT_TRUE(r.ok()) << r.error().text();
  EXPECT_EQ(r->messages[0]["content"], "a\nb");
  EXPECT_EQ(r->messages[1]["content"], "");
  EXPECT_EQ(r->messages[1]["tool_calls"][0]["function"]["arguments"].dump(), R"({"b":1,"a":2})");
  EXPECT_EQ(r->messages[1]["tool_calls"][0]["type"], "function");
  EXPECT_EQ(r->messages[2]["tool_call_id"], "1");
}

TEST(Messages, NamesTheBadOne) {
  const auto problem = [](const std::string& message) {
    const auto r = parse_chat_request(R"({"messages":[{"role":"user","content":"x"},)" + message + "]}", {});
    return r.ok() ? std::string("ok") : r.error().message;
  };
  EXPECT_THAT(problem("1"), HasSubstr("messages[1]"));
  EXPECT_THAT(problem(R"({"role":"wizard","content":"x"})"), HasSubstr("messages[1].role must be"));
  EXPECT_THAT(problem(R"({"role":"user"})"), HasSubstr("messages[1].content is missing"));
  EXPECT_THAT(problem(R"({"role":"user","content":[{"type":"image_url","image_url":{}}]})"),
              HasSubstr("image_url"));
  EXPECT_THAT(problem(R"({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]})"),
              HasSubstr("JSON object"));
  EXPECT_THAT(problem(R"({"role":"assistant","tool_calls":[7]})"), HasSubstr("function.name"));
  EXPECT_EQ(problem(R"({"role":"assistant","content":null,"tool_calls":null})"), "ok");
}

TEST(Tools, AreChecked) {
  const auto tools = [](const std::string& json) { return chat("\"tools\":" + json); };
  EXPECT_TRUE(
      tools(R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object"}}}])")
          .ok());
  EXPECT_FALSE(tools(R"([{"type":"function","function":{}}])").ok());
  EXPECT_FALSE(tools(R"([{"type":"function","function":{"name":"a b"}}])").ok());
  EXPECT_FALSE(tools(R"([{"type":"function","function":{"name":"a","parameters":3}}])").ok());
  const std::string f = R"("tools":[{"type":"function","function":{"name":"f"}}],)";
  EXPECT_EQ(chat(f + R"("tool_choice":{"type":"function","function":{"name":"f"}})")->tool_choice,
            ToolChoice::kNamed);
  EXPECT_THAT(chat(f + R"("tool_choice":{"type":"function","function":{"name":"g"}})").error().message,
              HasSubstr("\"g\""));
  EXPECT_FALSE(chat(f + R"("tool_choice":"maybe")").ok());
  EXPECT_FALSE(chat(f + R"("tool_choice":"none")")->uses_tools());
}

TEST(Constraints, ComeFromManyFields) {
  using Kind = Constraint::Kind;
  const auto kind = [](const std::string& member) {
    const auto r = chat(member);
    EXPECT_TRUE(r.ok()) << member << ": " << (r.ok() ? "" : r.error().text());
    return r.ok() ? r->constraint.kind : Kind::kNone;
  };
  EXPECT_EQ(kind(R"("response_format":{"type":"text"})"), Kind::kNone);
  EXPECT_EQ(kind(R"("response_format":{"type":"json_object"})"), Kind::kJsonObject);
  EXPECT_EQ(
      kind(
          R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}})"),
      Kind::kJsonSchema);
  EXPECT_EQ(kind(R"("guided_json":"{\"type\":\"object\"}")"), Kind::kJsonSchema);
  EXPECT_EQ(kind(R"("guided_regex":"a+")"), Kind::kRegex);
  EXPECT_EQ(kind(R"("grammar":"root ::= \"a\"")"), Kind::kGbnf);
  EXPECT_EQ(kind(R"("guided_choice":["a","b"])"), Kind::kChoice);
  EXPECT_EQ(kind(R"("structured_outputs":{"regex":"a"})"), Kind::kRegex);
  EXPECT_FALSE(chat(R"("response_format":{"type":"xml"})").ok());
  EXPECT_FALSE(chat(R"("structured_outputs":{"jazz":1})").ok());
}

TEST(Constraints, ThatCannotBeEnforcedAreRefusedByName) {
  const auto problem = [](const std::string& member) {
    const auto r = chat(member);
    if (!r.ok()) return r.error();
    const auto compiled = compile_constraint(r->constraint);
    EXPECT_FALSE(compiled.ok()) << member;
    return compiled.ok() ? base::Error{} : compiled.error();
  };
  const auto bad_schema = problem(R"("guided_json":{"not":{"type":"string"}})");
  EXPECT_EQ(bad_schema.where, "guided_json");
  EXPECT_THAT(bad_schema.message, HasSubstr("not"));
  EXPECT_EQ(problem(R"("grammar":"root ::= (")").where, "grammar");
  EXPECT_EQ(problem(R"("regex":"(?=a)b")").where, "regex");
  EXPECT_TRUE(compile_constraint(chat(R"("guided_choice":["a\"\\b","c\nd"])")->constraint).ok());
}

/// The guide's tables are made from the rows: every field is there with what it takes.
TEST(Fields, AreAllInTheGuide) {
  const auto guide = base::read_file(TW_SOURCE_DIR "/docs/guides/serve.md");
  ASSERT_TRUE(guide.ok());
  const auto check = [&](const auto& table) {
    for (const auto& field : table) {
      EXPECT_THAT(*guide, HasSubstr(fmt::format("| `{}` | {} |", field.rule.name, describe(field.rule))));
    }
  };
  check(generate_fields());
  check(chat_fields());
  check(completion_fields());
  check(embedding_fields());
  check(tokenize_fields());
  check(detokenize_fields());
  check(adapter_fields());
}

}  // namespace
}  // namespace tw::serve
