// For tests: the whole API over real HTTP, with the fake engine behind it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "http/client.h"
#include "http/server.h"
#include "serve/api.h"
#include "serve/fake_engine.h"

namespace tw::serve {

struct TestServerOptions {
  ApiOptions api;
  FakeOptions engine;
  std::string_view chat_template = kFakeTemplate;
  model::GenerationDefaults defaults;
  bool attach = true;
  std::string host = "127.0.0.1";
};

class TestServer {
 public:
  explicit TestServer(TestServerOptions options = {}) : engine_(options.engine), api_(set_limits(options)) {
    http::ServerOptions any_port;
    any_port.port = 0;
    any_port.host = options.host;
    auto server = http::Server::create(any_port);
    TW_CHECK(server.ok(), "a free port");
    server_ = std::move(server).value();
    api_.mount(*server_);
    server_->start();
    auto card = fake_card(options.chat_template);
    TW_CHECK(card.ok(), "the fake card is valid");
    auto with_defaults = std::make_shared<model::ModelCard>(**card);
    with_defaults->defaults = options.defaults;
    card_ = std::move(with_defaults);
    if (options.attach) attach();
  }
  ~TestServer() {
    server_->stop();
    api_.stop();
    engine_.stop();
  }

  void attach() { TW_CHECK(api_.attach(card_, &engine_).ok(), "the fake model is served"); }
  Api& api() { return api_; }
  FakeEngine& engine() { return engine_; }
  http::Server& server() { return *server_; }
  int port() const { return server_->port(); }

  http::ClientResponse get(const std::string& path, const std::vector<http::Header>& headers = {}) const {
    auto response = http::get(server_->url() + path, headers);
    TW_CHECK(response.ok(), "the server answers");
    return std::move(response).value();
  }
  http::ClientResponse post(const std::string& path, std::string_view body,
                            const std::vector<http::Header>& headers = {}) const {
    auto response = http::post(server_->url() + path, headers, body);
    TW_CHECK(response.ok(), "the server answers");
    return std::move(response).value();
  }

  /// One sample of /metrics, "name{labels}"; -1 when it is not there.
  double metric(const std::string& sample) const {
    const std::string text = "\n" + get("/metrics").body;
    const std::size_t at = text.find("\n" + sample + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size() + 2));
  }
  /// Waits until the sample has this value.
  ::testing::AssertionResult becomes(const std::string& sample, double value) const {
    double seen = -1;
    for (int i = 0; i < 200; ++i) {
      seen = metric(sample);
      if (seen == value) return ::testing::AssertionSuccess();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return ::testing::AssertionFailure() << sample << " is " << seen << ", not " << value;
  }

 private:
  static ApiOptions set_limits(const TestServerOptions& options) {
    ApiOptions api = options.api;
    api.config.max_batch = options.engine.max_running;
    api.config.max_queue = options.engine.max_waiting;
    return api;
  }

  FakeEngine engine_;
  Api api_;
  std::unique_ptr<http::Server> server_;
  std::shared_ptr<const model::ModelCard> card_;
};

inline base::OrderedJson parse(const std::string& text) {
  auto parsed = base::parse_ordered_json(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? std::move(parsed).value() : base::OrderedJson();
}

/// The data of each event; the last is "[DONE]" when the stream is complete.
inline std::vector<std::string> sse_data(const std::string& body) {
  std::vector<std::string> events;
  for (std::size_t at = 0, end = 0; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    EXPECT_EQ(body.compare(at, 6, "data: "), 0) << body.substr(at, 40);
    events.push_back(body.substr(at + 6, end - at - 6));
  }
  return events;
}

inline constexpr std::string_view kGauge = "{engine=\"0\",model_name=\"fake-model\"}";

}  // namespace tw::serve
