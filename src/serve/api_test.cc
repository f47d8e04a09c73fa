// The server around the answers: health, keys, queue, cancelling, draining, metrics, the page.
#include <future>

#include "http/test_client.h"
#include "serve/key.h"
#include "serve/page.h"
#include "serve/test_server.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = base::OrderedJson;

constexpr std::string_view kChatBody = R"({"messages":[{"role":"user","content":"Hi"}]})";

std::string gauge(std::string_view name) {
  return std::string(name) + std::string(kGauge);
}

std::string raw_post(std::string_view path, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}", path, body.size(),
                     body);
}

TEST(Health, FollowsTheServersLife) {
  TestServerOptions options;
  options.attach = false;
  TestServer server(options);
  EXPECT_EQ(server.get("/v1/health/live").status, 200);
  EXPECT_EQ(server.get("/v1/health/ready").status, 503);
  EXPECT_EQ(server.get("/health").status, 503);
  EXPECT_EQ(server.get("/ping").status, 200);
  const auto early = server.post("/v1/chat/completions", kChatBody);
  EXPECT_EQ(early.status, 503);
  EXPECT_NE(early.header("Retry-After"), nullptr);
  EXPECT_THAT(early.body, HasSubstr("being loaded"));
  EXPECT_EQ(server.get("/metrics").status, 200);

  server.attach();
  const Json ready = parse(server.get("/v1/health/ready").body);
  EXPECT_EQ(ready["object"], "health.response");
  EXPECT_EQ(ready["status"], "ready");
  EXPECT_EQ(server.get("/health").status, 200);

  server.api().begin_drain();
  EXPECT_EQ(server.get("/v1/health/ready").status, 503);
  const auto late = server.post("/v1/chat/completions", kChatBody);
  EXPECT_EQ(late.status, 503);
  EXPECT_NE(late.header("Retry-After"), nullptr);
  EXPECT_EQ(server.get("/v1/health/live").status, 200);
}

TEST(Management, TheModelsSamplingDefaultsHoldWhereARequestIsSilent) {
  TestServerOptions options;
  options.defaults = {.temperature = 0.25F,
                      .top_p = 0.5F,
                      .min_p = 0.125F,
                      .typical_p = 0.75F,
                      .repetition_penalty = 1.5F,
                      .top_k = 7,
                      .max_new_tokens = 3};
  TestServer server(options);
  for (const bool silent : {true, false}) {
    const std::string own = silent ? "" : R"(,"temperature":0.5,"top_k":0,"max_tokens":2)";
    server.post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"Hi"}])" + own + "}");
    const infer::GenerateRequest request = server.engine().last_request();
    EXPECT_EQ(request.sampling.temperature, silent ? 0.25F : 0.5F);
    EXPECT_EQ(request.sampling.top_k, silent ? 7 : 0);
    EXPECT_EQ(request.max_tokens, silent ? 3 : 2);
    EXPECT_EQ(request.sampling.top_p, 0.5F);
    EXPECT_EQ(request.sampling.min_p, 0.125F);
    EXPECT_EQ(request.sampling.typical_p, 0.75F);
    EXPECT_EQ(request.sampling.repetition_penalty, 1.5F);
  }
}

TEST(Management, DescribesTheModel) {
  TestServerOptions options;
  options.api.config.served_name = "team/model";
  options.api.version = "1.2.3";
  TestServer server(options);
  const Json list = parse(server.get("/v1/models").body);
  EXPECT_EQ(list["data"][0]["id"], "team/model");
  EXPECT_EQ(list["data"][0]["max_model_len"], 4096);
  EXPECT_EQ(parse(server.get("/v1/models/team/model").body)["id"], "team/model");
  EXPECT_EQ(parse(server.get("/v1/models/fake-model").body)["id"], "team/model");
  EXPECT_EQ(server.get("/v1/models/other").status, 404);
  EXPECT_EQ(parse(server.get("/v1/version").body)["release"], "1.2.3");
  EXPECT_EQ(parse(server.get("/version").body)["version"], "1.2.3");
  EXPECT_EQ(parse(server.get("/v1/metadata").body)["modelInfo"][0]["shortName"], "team/model");
  const auto unknown = server.get("/v2/nothing");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(parse(unknown.body)["error"]["message"].is_string());
  EXPECT_EQ(server.get("/v1/chat/completions").status, 405);
}

TEST(Key, IsAskedForExceptWhereItsOpen) {
  TestServerOptions options;
  options.api.api_key = "s3cret";
  TestServer server(options);
  const auto without = server.get("/v1/models");
  EXPECT_EQ(without.status, 401);
  EXPECT_EQ(parse(without.body)["error"]["code"], "invalid_api_key");
  EXPECT_EQ(server.get("/v1/models", {{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(server.get("/v1/models", {{"Authorization", "Basic s3cret"}}).status, 401);
  EXPECT_EQ(server.get("/v1/models", {{"Authorization", "Bearer s3cret"}}).status, 200);
  EXPECT_EQ(server.get("/metrics").status, 401);
  EXPECT_EQ(server.post("/v1/chat/completions", kChatBody).status, 401);
  for (const char* open : {"/", "/page/main.js", "/health", "/v1/health/live", "/v1/health/ready", "/ping"}) {
    EXPECT_EQ(server.get(open).status, 200) << open;
  }
}

TEST(Key, ComparesAllOfIt) {
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  for (const char* other : {"", "ab", "abcd", "abd", "abcabc"})
    EXPECT_FALSE(equal_in_constant_time("abc", other)) << other;
  EXPECT_FALSE(equal_in_constant_time("", "a"));
}

TEST(Queue, AnswersFullWithTooManyRequests) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.engine.max_waiting = 1;
  TestServer server(options);
  server.engine().hold(true);
  http::RawClient first(server.port()), second(server.port());
  first.send(raw_post("/v1/chat/completions", kChatBody));
  ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 1));
  second.send(raw_post("/v1/chat/completions", kChatBody));
  ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 2));
  const auto refused = server.post("/v1/chat/completions", kChatBody);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(*refused.header("Retry-After"), "1");
  EXPECT_EQ(parse(refused.body)["error"]["type"], "rate_limit_error");
  EXPECT_EQ(server.metric(gauge("vllm:admission_rejections_total")), 1);
  server.engine().hold(false);
  EXPECT_THAT(first.read_until("Hello there!"), HasSubstr("200 OK"));
}

TEST(Queue, TakesAllAnswersOrNone) {
  TestServerOptions options;
  options.engine.max_running = 1;
  options.engine.max_waiting = 2;
  TestServer server(options);
  server.engine().hold(true);
  http::RawClient first(server.port());
  first.send(raw_post("/v1/chat/completions", kChatBody));
  ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 1));
  EXPECT_EQ(
      server.post("/v1/chat/completions", R"({"n":3,"messages":[{"role":"user","content":"Hi"}]})").status,
      429);
  EXPECT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 1));
}

/// The gauges return to 0 when clients leave, before and while their answers stream.
TEST(Cancel, FollowsTheClientsDeparture) {
  TestServerOptions options;
  options.engine.answer = [](const infer::GenerateRequest&, const std::string&) {
    return std::string(100000, 'x');
  };
  options.engine.context = 1 << 20;
  TestServer server(options);
  {
    http::RawClient streaming(server.port()), whole(server.port());
    streaming.send(raw_post("/v1/chat/completions",
                            R"({"stream":true,"n":2,"messages":[{"role":"user","content":"Hi"}]})"));
    whole.send(raw_post("/v1/completions", R"({"prompt":"a","max_tokens":100000})"));
    EXPECT_THAT(streaming.read_until("\"content\":\"x\""), HasSubstr("200 OK"));
    ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_running"), 3));
  }
  EXPECT_TRUE(server.becomes(gauge("vllm:num_requests_running"), 0));
  EXPECT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 0));
  EXPECT_TRUE(server.becomes(
      R"(vllm:request_success_total{engine="0",finished_reason="abort",model_name="fake-model"})", 3));
  EXPECT_TRUE(
      server.becomes(R"(tokenworks:client_disconnects_total{engine="0",model_name="fake-model"})", 2));
}

TEST(Drain, LetsRunningAnswersFinish) {
  TestServer server;
  server.engine().hold(true);
  http::RawClient client(server.port());
  client.send(raw_post("/v1/chat/completions", kChatBody));
  ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 1));
  server.api().begin_drain();
  EXPECT_EQ(server.post("/v1/completions", R"({"prompt":"a"})").status, 503);
  server.engine().hold(false);
  EXPECT_THAT(client.read_until("Hello there!"), HasSubstr("200 OK"));
  server.server().begin_drain();
  EXPECT_TRUE(server.server().wait_idle(std::chrono::seconds(5)));
}

/// Whatever a request costs to prepare, streams and health checks go on meanwhile.
TEST(Prepare, DoesNotHoldTheServer) {
  std::promise<void> started, release;
  TestServerOptions options;
  options.engine.on_submit = [&, first = true, wait = release.get_future().share()]() mutable {
    if (!std::exchange(first, false)) return;
    started.set_value();
    wait.wait();
  };
  TestServer server(options);
  http::RawClient slow(server.port());
  slow.send(raw_post("/v1/completions", R"({"prompt":"a"})"));
  started.get_future().wait();
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_EQ(server.get("/metrics").status, 200);
  release.set_value();
  EXPECT_THAT(slow.read_until("Hello"), HasSubstr("200 OK"));
}

TEST(Stop, EndsAnswersWithAnError) {
  TestServer server;
  server.engine().hold(true);
  http::RawClient whole(server.port()), streaming(server.port());
  whole.send(raw_post("/v1/chat/completions", kChatBody));
  streaming.send(
      raw_post("/v1/chat/completions", R"({"stream":true,"messages":[{"role":"user","content":"Hi"}]})"));
  ASSERT_TRUE(server.becomes(gauge("vllm:num_requests_waiting"), 2));
  server.engine().stop();
  EXPECT_THAT(whole.read_until("server stopped"), HasSubstr("503"));
  EXPECT_THAT(streaming.read_until("\"error\""), HasSubstr("data: {\"error\""));
}

TEST(MetricsPage, CountsRequests) {
  TestServer server;
  server.api().record_step(5);
  server.post("/v1/chat/completions",
              R"({"n":2,"max_tokens":4,"messages":[{"role":"user","content":"Hi"}]})");
  server.post("/v1/chat/completions", "nonsense");
  EXPECT_TRUE(server.becomes(
      R"(vllm:request_success_total{engine="0",finished_reason="length",model_name="fake-model"})", 2));
  const std::string text = server.get("/v1/metrics").body;
  for (
      const char* line : {
          R"(vllm:time_to_first_token_seconds_count{engine="0",model_name="fake-model"} 2)",
          R"(vllm:inter_token_latency_seconds_count{engine="0",model_name="fake-model"} 6)",
          R"(vllm:e2e_request_latency_seconds_count{engine="0",model_name="fake-model"} 2)",
          R"(vllm:request_generation_tokens_sum{engine="0",model_name="fake-model"} 8)",
          R"(vllm:request_max_num_generation_tokens_count{engine="0",model_name="fake-model"} 1)",
          R"(vllm:request_max_num_generation_tokens_sum{engine="0",model_name="fake-model"} 4)",
          R"(vllm:request_params_n_sum{engine="0",model_name="fake-model"} 2)",
          R"(vllm:request_params_max_tokens_bucket{engine="0",model_name="fake-model",le="5"} 1)",
          R"(vllm:iteration_tokens_total_bucket{engine="0",model_name="fake-model",le="8"} 1)",
          R"(vllm:kv_cache_usage_perc{engine="0",model_name="fake-model"} 0)",
          R"(vllm:cache_config_info{block_size="16",cache_dtype="int8",enable_prefix_caching="True",engine="0",kv_cache_memory_bytes="1048576",num_gpu_blocks="1000"} 1)",
          R"(tokenworks:kv_cache_bytes_per_token{engine="0",model_name="fake-model"} 64)",
          R"(http_request_size_bytes_count{handler="/v1/chat/completions"} 2)",
          R"(http_request_size_bytes_sum{handler="/v1/chat/completions"} 74)",
          R"(http_response_size_bytes_count{handler="/v1/chat/completions"} 2)",
          R"(http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 1)",
          R"(http_requests_total{handler="/v1/chat/completions",method="POST",status="4xx"} 1)",
          R"(tokenworks:build_info{version="0"} 1)",
      }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_GT(server.metric(R"(http_response_size_bytes_sum{handler="/v1/chat/completions"})"), 300);
  EXPECT_GT(server.metric("http_request_duration_highr_seconds_count"), 2);
  EXPECT_GT(server.metric("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(server.metric("process_open_fds"), 3);
  EXPECT_GT(server.metric("process_start_time_seconds"), 1.6e9);
}

TEST(MetricsPage, NamesNoPathThatIsNotARoute) {
  TestServer server;
  server.get("/v1/secret-of-a-client");
  const std::string text = server.get("/metrics").body;
  EXPECT_THAT(text, Not(HasSubstr("secret-of-a-client")));
  EXPECT_THAT(text, HasSubstr("handler=\"none\""));
}

TEST(Page, IsSelfContained) {
  TestServer server;
  const auto page = server.get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(*page.header("Content-Type"), HasSubstr("text/html"));
  EXPECT_THAT(*page.header("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(page.body, HasSubstr("<title>Tokenworks</title>"));
  std::size_t total = 0;
  for (const PageFile& file : page_files()) {
    EXPECT_EQ(server.get(std::string(file.path)).body, file.content) << file.path;
    total += file.content.size();
    if (file.content_type == "image/svg+xml") continue;
    EXPECT_THAT(std::string(file.content), Not(HasSubstr("src=\"http"))) << file.path;
    EXPECT_THAT(std::string(file.content), Not(HasSubstr("url(http"))) << file.path;
  }
  EXPECT_LT(total, 100'000U);
}

}  // namespace
}  // namespace tw::serve
