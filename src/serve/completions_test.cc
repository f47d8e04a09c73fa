// POST /v1/completions, /v1/embeddings, /tokenize and /detokenize over HTTP.
#include "serve/test_server.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;
using Json = base::OrderedJson;

TestServerOptions answering(std::string text) {
  TestServerOptions options;
  options.engine.answer = [text](const infer::GenerateRequest&, const std::string&) { return text; };
  return options;
}

Json complete(const TestServer& server, const std::string& members) {
  const auto response = server.post("/v1/completions", "{" + members + "}");
  EXPECT_EQ(response.status, 200) << response.body;
  return parse(response.body);
}

TEST(Completions, AnswersEachPromptNTimes) {
  TestServerOptions options;
  options.engine.answer = [](const infer::GenerateRequest& r, const std::string& prompt) {
    return fmt::format("{}{}", prompt, r.sampling.seed);
  };
  TestServer server(options);
  const Json json = complete(server, R"("prompt":["a","b"],"n":2,"seed":0)");
  EXPECT_EQ(json["object"], "text_completion");
  ASSERT_EQ(json["choices"].size(), 4U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(json["choices"][i]["index"], i);
  EXPECT_EQ(json["choices"][1]["text"], "a1");
  EXPECT_EQ(json["choices"][2]["text"], "b0");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(json["usage"]["completion_tokens"], 8);
}

TEST(Completions, DefaultsToSixteenTokens) {
  TestServer server(answering(std::string(100, 'x')));
  EXPECT_EQ(complete(server, R"("prompt":"a")")["choices"][0]["text"], std::string(16, 'x'));
}

TEST(Completions, Streams) {
  TestServer server(answering("ab"));
  const auto response =
      server.post("/v1/completions", R"({"prompt":"x","stream":true,"logprobs":0,"echo":true,
      "stream_options":{"include_usage":true,"continuous_usage_stats":true}})");
  const auto events = sse_data(response.body);
  std::string text;
  std::vector<int> offsets;
  for (std::size_t i = 0; i + 2 < events.size(); ++i) {
    const Json event = parse(events[i]);
    text += event["choices"][0]["text"].get<std::string>();
    EXPECT_TRUE(event["usage"].is_object());
    for (const Json& offset : event["choices"][0]["logprobs"]["text_offset"]) offsets.push_back(offset);
  }
  EXPECT_EQ(text, "xab");
  EXPECT_EQ(offsets, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(parse(events[events.size() - 2])["usage"]["completion_tokens"], 2);
  EXPECT_EQ(events.back(), "[DONE]");
}

/// As lm-evaluation-harness scores a text: prompts of ids, echoed, one token more, which it drops.
TEST(Completions, ScoresPromptsOfIds) {
  TestServer server(answering("Z"));
  for (const char* max_tokens : {"0", "1"}) {
    const Json json = complete(
        server,
        fmt::format(R"("prompt":[[72,105],[97]],"echo":true,"max_tokens":{},"logprobs":1,"temperature":0)",
                    max_tokens));
    ASSERT_EQ(json["choices"].size(), 2U);
    const Json& logprobs = json["choices"][0]["logprobs"];
    const bool generates = std::string_view(max_tokens) == "1";
    EXPECT_EQ(json["choices"][0]["text"], generates ? "HiZ" : "Hi");
    EXPECT_EQ(logprobs["tokens"].size(), generates ? 3U : 2U);
    EXPECT_EQ(logprobs["tokens"][1], "i");
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    EXPECT_FLOAT_EQ(logprobs["token_logprobs"][1].get<float>(), -0.25F);
    EXPECT_FLOAT_EQ(logprobs["top_logprobs"][1]["i"].get<float>(), -0.25F);
    EXPECT_EQ(logprobs["text_offset"], generates ? Json::array({0, 1, 2}) : Json::array({0, 1}));
  }
  EXPECT_TRUE(server.engine().last_request().prompt_logprobs);
}

TEST(Completions, SpellsBrokenCharactersAsBytes) {
  TestServer server(answering("é"));
  const Json json = complete(server, R"("prompt":"a","logprobs":0)");
  EXPECT_EQ(json["choices"][0]["text"], "é");
  EXPECT_EQ(json["choices"][0]["logprobs"]["tokens"], Json::array({"bytes:\\xc3", "bytes:\\xa9"}));
}

TEST(Completions, RefusesIdsOutsideTheVocabulary) {
  TestServer server;
  const auto response = server.post("/v1/completions", R"({"prompt":[1,258]})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("the vocabulary ends at 257"));
}

TEST(Completions, CannotAskForMoreThanTheServerHolds) {
  TestServer server;
  const auto response = server.post("/v1/completions", R"({"prompt":["a","b"],"n":10})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("20 sequences"));
  EXPECT_EQ(parse(response.body)["error"]["param"], "prompt");
  EXPECT_EQ(parse(server.post("/v1/completions", R"({"prompt":"a","n":20})").body)["error"]["param"], "n");
}

TEST(Completions, NameAnEmptyPrompt) {
  TestServer server;
  const auto response = server.post("/v1/completions", R"({"prompt":["a",[]]})");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(parse(response.body)["error"]["param"], "prompt");
}

TEST(Embeddings, AreUnitVectorsInBothFormats) {
  TestServer server;
  const Json floats = parse(server.post("/v1/embeddings", R"({"input":["ab",[97]]})").body);
  ASSERT_EQ(floats["data"].size(), 2U) << floats.dump();
  EXPECT_EQ(floats["data"][1]["index"], 1);
  const auto vector = floats["data"][0]["embedding"].get<std::vector<float>>();
  EXPECT_THAT(vector, ::testing::ElementsAre(::testing::FloatEq(0.6F), 0, ::testing::FloatEq(0.8F), 0));
  EXPECT_EQ(floats["usage"]["total_tokens"], 3);
  const Json coded =
      parse(server.post("/v1/embeddings", R"({"input":"ab","encoding_format":"base64"})").body);
  EXPECT_EQ(coded["data"][0]["embedding"], "mpkZPwAAAADNzEw/AAAAAA==");
  const Json cut = parse(server.post("/v1/embeddings", R"({"input":"ab","dimensions":1})").body);
  EXPECT_EQ(cut["data"][0]["embedding"], Json::array({1}));
}

TEST(Embeddings, CheckTheirInput) {
  TestServer server;
  EXPECT_EQ(server.post("/v1/embeddings", R"({"input":""})").status, 400);
  EXPECT_EQ(server.post("/v1/embeddings", R"({"input":"a","dimensions":5})").status, 400);
  EXPECT_EQ(server.post("/v1/embeddings", R"({"input":"a","encoding_format":"hex"})").status, 400);
}

TEST(Tokenize, WorksBothWays) {
  TestServer server;
  const Json json =
      parse(server.post("/tokenize", R"({"prompt":"Hi<|im_end|>","return_token_strs":true})").body);
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(json["max_model_len"], 4096);
  EXPECT_EQ(json["tokens"], Json::array({72, 105, kFakeEnd}));
  EXPECT_EQ(json["token_strs"][2], "<|im_end|>");
  EXPECT_EQ(parse(server.post("/detokenize", R"({"tokens":[72,105,257]})").body)["prompt"], "Hi<|im_end|>");
  const Json chat = parse(server.post("/tokenize", R"({"messages":[{"role":"user","content":"x"}]})").body);
  EXPECT_EQ(chat["tokens"][0], kFakeStart);
  EXPECT_EQ(server.post("/tokenize", "{}").status, 400);
  EXPECT_EQ(server.post("/detokenize", R"({"tokens":["a"]})").status, 400);
  EXPECT_EQ(server.post("/detokenize", R"({"tokens":[300]})").status, 400);
}

}  // namespace
}  // namespace tw::serve
