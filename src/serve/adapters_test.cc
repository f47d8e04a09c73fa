// Adapters over HTTP: chosen by a request's model, listed, loaded and unloaded.
#include "serve/test_server.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;
using Json = base::OrderedJson;

const std::string kFolder = "/adapters/good", kOther = "/adapters/of-another-model";

/// Adapters that are told apart from none, and from each other, and are never looked into.
TestServerOptions options(bool updates, std::vector<std::string> flags = {}) {
  TestServerOptions o;
  o.api.config.lora_updates = updates;
  o.api.config.lora = std::move(flags);
  o.engine.load_adapter =
      [](const std::string& folder) -> base::Result<std::shared_ptr<const model::Adapter>> {
    if (folder == kOther) return base::Error{base::Code::kCorrupt, "tensor 'x' is [1, 2]", folder};
    if (folder != kFolder) return base::Error{base::Code::kNotFound, "there is no such file", folder};
    const auto owner = std::make_shared<int>(7);
    return std::shared_ptr<const model::Adapter>(owner, reinterpret_cast<const model::Adapter*>(owner.get()));
  };
  o.engine.answer = [](const infer::GenerateRequest& r, const std::string&) {
    return std::string(r.adapter == nullptr ? "base" : "adapted");
  };
  return o;
}

std::string text_of(const TestServer& server, const std::string& model) {
  const auto response =
      server.post("/v1/completions", fmt::format(R"({{"model":"{}","prompt":"x"}})", model));
  if (response.status != 200) return std::to_string(response.status);
  const Json json = parse(response.body);
  EXPECT_EQ(json["model"], model);
  return json["choices"][0]["text"].get<std::string>();
}

std::string load_body(const std::string& name, const std::string& path, bool in_place = false) {
  return Json{{"lora_name", name}, {"lora_path", path}, {"load_inplace", in_place}}.dump();
}

TEST(LoraFlag, GivesAdaptersThatRequestsChoose) {
  TestServer server(options(false, {"tuned=" + kFolder, "other=" + kFolder}));
  EXPECT_EQ(text_of(server, "fake-model"), "base");
  EXPECT_EQ(text_of(server, "tuned"), "adapted");
  EXPECT_EQ(text_of(server, "tune"), "404");
  const Json chat = parse(
      server.post("/v1/chat/completions", R"({"model":"other","messages":[{"role":"user","content":"x"}]})")
          .body);
  EXPECT_EQ(chat["choices"][0]["message"]["content"], "adapted");
  EXPECT_EQ(chat["model"], "other");
  server.post("/v1/embeddings", R"({"model":"tuned","input":"x"})");
  EXPECT_NE(server.engine().last_request().adapter, nullptr);
  EXPECT_EQ(server.post("/tokenize", R"({"model":"tuned","prompt":"x"})").status, 200);

  const Json list = parse(server.get("/v1/models").body)["data"];
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0]["id"], "fake-model");
  EXPECT_EQ(list[0]["parent"], nullptr);
  EXPECT_EQ(list[1]["id"], "other");
  EXPECT_EQ(list[2]["id"], "tuned");
  EXPECT_EQ(list[2]["parent"], "fake-model");
  EXPECT_EQ(list[2]["root"], kFolder);
  EXPECT_EQ(parse(server.get("/v1/models/tuned").body)["parent"], "fake-model");
}

TEST(LoraFlag, WithABadFolderEndsTheStart) {
  TestServerOptions o = options(false, {"tuned=/nowhere"});
  o.attach = false;
  TestServer server(o);
  const auto attached = server.api().attach(*fake_card(), &server.engine());
  ASSERT_FALSE(attached.ok());
  EXPECT_THAT(attached.error().text(), HasSubstr("--lora tuned"));
  EXPECT_THAT(attached.error().text(), HasSubstr("/nowhere"));
}

TEST(LoraEndpoints, AreOffWithoutTheFlag) {
  TestServer server(options(false));
  for (const char* path : {"/v1/load_lora_adapter", "/v1/unload_lora_adapter"}) {
    const auto response = server.post(path, load_body("a", kFolder));
    EXPECT_EQ(response.status, 403);
    EXPECT_THAT(response.body, HasSubstr("--lora-updates"));
  }
}

TEST(LoraEndpoints, LoadAndUnload) {
  TestServer server(options(true));
  EXPECT_EQ(text_of(server, "a"), "404");
  const auto loaded = server.post("/v1/load_lora_adapter", load_body("a", kFolder));
  EXPECT_EQ(loaded.status, 200);
  EXPECT_EQ(loaded.body, "Success: LoRA adapter 'a' added successfully.");
  EXPECT_EQ(text_of(server, "a"), "adapted");
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load_body("a", kFolder)).status, 400);
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load_body("a", kFolder, true)).status, 200);
  const auto unloaded = server.post("/v1/unload_lora_adapter", R"({"lora_name":"a"})");
  EXPECT_EQ(unloaded.body, "Success: LoRA adapter 'a' removed successfully.");
  EXPECT_EQ(text_of(server, "a"), "404");
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", R"({"lora_name":"a"})").status, 404);
}

TEST(LoraEndpoints, RefuseWhatIsWrong) {
  TestServer server(options(true));
  const auto refused = [&](const std::string& body, int status) {
    const auto response = server.post("/v1/load_lora_adapter", body);
    EXPECT_EQ(response.status, status) << body;
    return parse(response.body)["error"];
  };
  EXPECT_EQ(refused(R"({"lora_path":"x"})", 400)["param"], "lora_name");
  EXPECT_EQ(refused(R"({"lora_name":"x"})", 400)["param"], "lora_path");
  EXPECT_EQ(refused(R"({"lora_name":7,"lora_path":"x"})", 400)["param"], "lora_name");
  EXPECT_EQ(refused(load_body("x", "/nowhere"), 404)["param"], "lora_path");
  EXPECT_EQ(refused(load_body("x", kOther), 400)["param"], "lora_path");
  EXPECT_EQ(refused(load_body("fake-model", kFolder, true), 400)["param"], "lora_name");
  EXPECT_EQ(refused("{", 400)["code"], "invalid_json");
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", "{}").status, 400);
  EXPECT_EQ(parse(server.get("/v1/models").body)["data"].size(), 1U);
}

TEST(LoraEndpoints, ARunningAnswerKeepsItsAdapter) {
  TestServerOptions o = options(true, {"a=" + kFolder});
  TestServer server(o);
  server.engine().hold(true);
  std::thread client([&] { EXPECT_EQ(text_of(server, "a"), "adapted"); });
  while (server.engine().stats().waiting == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", R"({"lora_name":"a"})").status, 200);
  server.engine().hold(false);
  client.join();
}

/// vLLM's labels, of one series at a time, whose value is the time.
TEST(LoraMetric, NamesTheAdaptersAtWork) {
  TestServer server(options(false, {"tuned=" + kFolder, "other=" + kFolder}));
  const auto seen = [&](const std::string& running, const std::string& waiting) {
    const std::string labels = fmt::format(
        R"({{max_lora="4",running_lora_adapters="{}",waiting_lora_adapters="{}"}})", running, waiting);
    return server.metric("vllm:lora_requests_info" + labels);
  };
  const auto comes = [&](const std::string& running, const std::string& waiting) {
    for (int i = 0; i < 500 && seen(running, waiting) < 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return seen(running, waiting) > 1.7e9;
  };
  EXPECT_TRUE(comes("", ""));
  server.engine().hold(true);
  std::vector<std::thread> clients;
  for (const char* model : {"tuned", "other", "tuned", "fake-model"})
    clients.emplace_back([&server, model] { text_of(server, model); });
  EXPECT_TRUE(comes("", "other,tuned"));
  EXPECT_EQ(seen("", ""), -1) << "there is one series";
  server.engine().hold(false);
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(comes("", ""));
}

TEST(LoraEndpoints, HaveALimit) {
  TestServer server(options(true));
  for (std::size_t i = 0; i < 256; ++i)
    ASSERT_EQ(server.post("/v1/load_lora_adapter", load_body("n" + std::to_string(i), kFolder)).status, 200);
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load_body("one more", kFolder)).status, 429);
}

}  // namespace
}  // namespace tw::serve
