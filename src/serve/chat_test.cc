// POST /v1/chat/completions over HTTP, with canned answers.
#include "serve/test_server.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = base::OrderedJson;

constexpr std::string_view kPath = "/v1/chat/completions";

std::string body(const std::string& more = "") {
  return R"({"model":"fake-model","messages":[{"role":"user","content":"Hi"}])" +
         (more.empty() ? "" : "," + more) + "}";
}

TestServerOptions answering(std::string text) {
  TestServerOptions options;
  options.engine.answer = [text](const infer::GenerateRequest&, const std::string&) { return text; };
  return options;
}

TEST(Chat, AnswersWhole) {
  TestServer server;
  const auto response = server.post(std::string(kPath), body());
  ASSERT_EQ(response.status, 200) << response.body;
  const Json json = parse(response.body);
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "fake-model");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["choices"][0]["message"]["content"], "Hello there!");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(json["usage"]["completion_tokens"], 12);
  EXPECT_EQ(json["usage"]["total_tokens"], json["usage"]["prompt_tokens"].get<int>() + 12);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 16);
}

TEST(Chat, StreamsTheSameText) {
  TestServer server(answering("Grüße, 世界!"));
  const auto response =
      server.post(std::string(kPath), body(R"("stream":true,"stream_options":{"include_usage":true})"));
  ASSERT_EQ(response.status, 200);
  EXPECT_THAT(*response.header("Content-Type"), StartsWith("text/event-stream"));
  const auto events = sse_data(response.body);
  ASSERT_GE(events.size(), 4U);
  EXPECT_EQ(events.back(), "[DONE]");
  const Json first = parse(events.front());
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  std::vector<std::string> finishes;
  for (std::size_t i = 0; i + 2 < events.size(); ++i) {
    const Json event = parse(events[i]);
    EXPECT_EQ(event["id"], first["id"]);
    EXPECT_TRUE(event["usage"].is_null());
    text += event["choices"][0]["delta"].value("content", "");
    if (event["choices"][0]["finish_reason"].is_string())
      finishes.push_back(event["choices"][0]["finish_reason"]);
  }
  EXPECT_EQ(text, "Grüße, 世界!");
  EXPECT_EQ(finishes, std::vector<std::string>{"stop"});
  const Json last = parse(events[events.size() - 2]);
  EXPECT_TRUE(last["choices"].empty());
  EXPECT_EQ(last["usage"]["completion_tokens"], 16);
}

TEST(Chat, RendersTheTemplate) {
  TestServer server;
  server.post(std::string(kPath),
              R"({"messages":[{"role":"developer","content":"Be brief"},{"role":"user","content":"Hi"}]})");
  const auto request = server.engine().last_request();
  EXPECT_EQ(request.prompt.front(), kFakeStart);
  const auto card = fake_card();
  ASSERT_TRUE(card.ok());
  EXPECT_EQ(
      (*card)->tokenizer->decode(request.prompt, false),
      "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, WorksWithoutATemplate) {
  TestServerOptions options;
  options.chat_template = "";
  TestServer server(options);
  const auto response =
      server.post(std::string(kPath), R"({"messages":[{"role":"user","content":"Once upon"}]})");
  EXPECT_EQ(response.status, 200);
  const auto card = fake_card();
  EXPECT_EQ((*card)->tokenizer->decode(server.engine().last_request().prompt, false), "Once upon");
  EXPECT_THAT(
      server.post(std::string(kPath), body(R"("tools":[{"type":"function","function":{"name":"f"}}])")).body,
      HasSubstr("offers no tools"));
}

TEST(Chat, GivesSeveralAnswersWithTheirOwnSeeds) {
  TestServerOptions options;
  options.engine.answer = [](const infer::GenerateRequest& r, const std::string&) {
    return fmt::format("seed {}", r.sampling.seed);
  };
  TestServer server(options);
  const Json json = parse(server.post(std::string(kPath), body(R"("n":3,"seed":7)")).body);
  ASSERT_EQ(json["choices"].size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_EQ(json["choices"][i]["message"]["content"], fmt::format("seed {}", 7 + i));
  }
  const Json unseeded = parse(server.post(std::string(kPath), body(R"("n":2)")).body);
  EXPECT_NE(unseeded["choices"][0]["message"]["content"], unseeded["choices"][1]["message"]["content"]);
}

TEST(Chat, TellsLogprobs) {
  TestServer server(answering("ab"));
  const Json whole = parse(server.post(std::string(kPath), body(R"("logprobs":true,"top_logprobs":2)")).body);
  const Json& content = whole["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2U);
  EXPECT_EQ(content[0]["token"], "a");
  EXPECT_EQ(content[0]["bytes"], Json::array({97}));
  EXPECT_FLOAT_EQ(content[0]["logprob"].get<float>(), -0.25F);
  ASSERT_EQ(content[0]["top_logprobs"].size(), 2U);
  EXPECT_EQ(content[0]["top_logprobs"][1]["token"], "b");
  const auto events =
      sse_data(server.post(std::string(kPath), body(R"("logprobs":true,"stream":true)")).body);
  std::string tokens;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const Json event = parse(events[i]);
    if (event["choices"][0]["logprobs"].is_null()) continue;
    for (const Json& token : event["choices"][0]["logprobs"]["content"])
      tokens += token["token"].get<std::string>();
  }
  EXPECT_EQ(tokens, "ab");
}

TEST(Chat, StopsAtStopStringsAndLength) {
  TestServer server(answering("one two three"));
  const Json stopped = parse(server.post(std::string(kPath), body(R"("stop":[" three"," two"])")).body);
  EXPECT_EQ(stopped["choices"][0]["message"]["content"], "one");
  EXPECT_EQ(stopped["choices"][0]["stop_reason"], " two");
  const Json kept =
      parse(server.post(std::string(kPath), body(R"("stop":" two","include_stop_str_in_output":true)")).body);
  EXPECT_EQ(kept["choices"][0]["message"]["content"], "one two");
  const Json cut = parse(server.post(std::string(kPath), body(R"("max_completion_tokens":3)")).body);
  EXPECT_EQ(cut["choices"][0]["message"]["content"], "one");
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "length");
  for (const char* both :
       {R"("max_completion_tokens":3,"max_tokens":5)", R"("max_tokens":5,"max_completion_tokens":3)"}) {
    EXPECT_EQ(parse(server.post(std::string(kPath), body(both)).body)["choices"][0]["message"]["content"],
              "one");
  }
}

constexpr std::string_view kTools =
    R"("tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",)"
    R"("properties":{"city":{"type":"string"}},"required":["city"]}}}])";
constexpr std::string_view kCall =
    "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";

TEST(Chat, FindsToolCalls) {
  TestServer server(answering("Let me see. " + std::string(kCall)));
  const Json json = parse(server.post(std::string(kPath), body(std::string(kTools))).body);
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1U) << json.dump();
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "get_weather");
  EXPECT_EQ(parse(call["function"]["arguments"])["city"], "Oslo");
  EXPECT_THAT(call["id"].get<std::string>(), StartsWith("call_"));
  EXPECT_THAT(choice["message"]["content"].get<std::string>(), StartsWith("Let me see."));
  const auto card = fake_card();
  EXPECT_THAT((*card)->tokenizer->decode(server.engine().last_request().prompt, false),
              HasSubstr("get_weather"));
}

TEST(Chat, StreamsToolCalls) {
  TestServer server(answering(std::string(kCall) + "\n" + std::string(kCall)));
  const auto events =
      sse_data(server.post(std::string(kPath), body(std::string(kTools) + R"(,"stream":true)")).body);
  std::vector<std::string> names, arguments;
  Json last_choice;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    last_choice = parse(events[i])["choices"][0];
    if (!last_choice["delta"].contains("tool_calls")) continue;
    const Json& call = last_choice["delta"]["tool_calls"][0];
    const auto index = call["index"].get<std::size_t>();
    if (call.contains("id")) names.push_back(call["function"]["name"]);
    arguments.resize(std::max(arguments.size(), index + 1));
    arguments[index] += call["function"].value("arguments", "");
  }
  EXPECT_EQ(names, (std::vector<std::string>{"get_weather", "get_weather"}));
  ASSERT_EQ(arguments.size(), 2U);
  for (const std::string& text : arguments) EXPECT_EQ(parse(text)["city"], "Oslo") << text;
  EXPECT_EQ(last_choice["finish_reason"], "tool_calls");
}

TEST(Chat, KeepsOneCallWhenAskedTo) {
  TestServer server(answering(std::string(kCall) + "\n" + std::string(kCall)));
  const Json json = parse(
      server.post(std::string(kPath), body(std::string(kTools) + R"(,"parallel_tool_calls":false)")).body);
  EXPECT_EQ(json["choices"][0]["message"]["tool_calls"].size(), 1U);
}

TEST(Chat, ForcesCallsByGrammar) {
  TestServer server(answering(std::string(kCall)));
  server.post(std::string(kPath), body(std::string(kTools)));
  EXPECT_EQ(server.engine().last_request().grammar, nullptr);
  server.post(std::string(kPath), body(std::string(kTools) + R"(,"tool_choice":"required")"));
  EXPECT_NE(server.engine().last_request().grammar, nullptr);
  server.post(std::string(kPath), body(R"("response_format":{"type":"json_object"})"));
  EXPECT_NE(server.engine().last_request().grammar, nullptr);
}

TEST(Chat, MapsErrors) {
  TestServer server;
  const auto error = [&](const std::string& request) {
    const auto response = server.post(std::string(kPath), request);
    Json json = parse(response.body)["error"];
    json["status"] = response.status;
    return json;
  };
  const Json range = error(body(R"("temperature":9)"));
  EXPECT_EQ(range["status"], 400);
  EXPECT_EQ(range["param"], "temperature");
  EXPECT_EQ(range["type"], "invalid_request_error");
  EXPECT_THAT(range["message"].get<std::string>(), HasSubstr("0 to 2"));
  const Json unknown = error(R"({"model":"gpt-4","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(unknown["status"], 404);
  EXPECT_EQ(unknown["code"], "model_not_found");
  const Json broken = error(R"({"messages":)");
  EXPECT_EQ(broken["status"], 400);
  EXPECT_THAT(broken["message"].get<std::string>(), HasSubstr("byte 12"));
  const Json schema = error(
      body(R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"not":{}}}})"));
  EXPECT_EQ(schema["status"], 400);
  EXPECT_EQ(schema["param"], "response_format");
  EXPECT_EQ(error(body(R"("logit_bias":{"999":1})"))["param"], "logit_bias");
  const Json many = error(body(R"("n":100)"));
  EXPECT_EQ(many["status"], 400);
}

TEST(Chat, NamesBothLengthsOfALongPrompt) {
  TestServerOptions options;
  options.engine.context = 50;
  TestServer server(options);
  const std::string text(100, 'x');
  const auto response =
      server.post(std::string(kPath), R"({"messages":[{"role":"user","content":")" + text + "\"}]}");
  EXPECT_EQ(response.status, 400);
  const Json error = parse(response.body)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("50"));
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("119 tokens"));
}

TEST(Chat, TellsWhatItIgnored) {
  TestServer server;
  const auto response = server.post(std::string(kPath), body(R"("store":true,"metadata":{})"));
  ASSERT_NE(response.header("X-Tokenworks-Ignored"), nullptr);
  EXPECT_EQ(*response.header("X-Tokenworks-Ignored"), "store, metadata");
  const auto stream = server.post(std::string(kPath), body(R"("stream":true,"store":true)"));
  EXPECT_EQ(*stream.header("X-Tokenworks-Ignored"), "store");
}

TEST(Chat, ReportsAFailedAnswer) {
  TestServerOptions options;
  options.engine.error = "out of luck";
  TestServer server(options);
  EXPECT_EQ(server.post(std::string(kPath), body()).status, 500);
  const auto events = sse_data(server.post(std::string(kPath), body(R"("stream":true)")).body);
  EXPECT_THAT(events.back(), HasSubstr("out of luck"));
}

/// A constraint that cannot be continued is the request's fault, not the server's.
TEST(Chat, ReportsAConstraintThatGotStuck) {
  TestServerOptions options;
  options.engine.error = "the constraint allows no token";
  TestServer server(options);
  const auto response = server.post(std::string(kPath), body(R"("regex":"Hello there!")"));
  EXPECT_EQ(response.status, 400);
  const Json error = parse(response.body)["error"];
  EXPECT_EQ(error["code"], "unsupported");
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["message"], "the constraint allows no token");
  const auto events =
      sse_data(server.post(std::string(kPath), body(R"("regex":"Hello there!","stream":true)")).body);
  EXPECT_EQ(parse(events.back())["error"], error);
}

}  // namespace
}  // namespace tw::serve
