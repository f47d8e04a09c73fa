// What a well-meaning client sees: routing, bodies, keep-alive, streaming, CORS, TLS, life cycle.
#include "http/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include "http/test_client.h"

namespace tw::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string get(std::string_view path, std::string_view more = "") {
  return fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n", path, more);
}
std::string get_and_close(std::string_view path, std::string_view more = "") {
  return get(path, fmt::format("Connection: close\r\n{}", more));
}

class ServerTest : public testing::Test {
 protected:
  void SetUp() override { options_.port = 0; }

  void start() {
    auto server = Server::create(options_);
    ASSERT_TRUE(server.ok()) << server.error().text();
    server_ = std::move(*server);
    server_->route("GET", "/hello", [](auto exchange) {
      exchange->respond({200, "text/plain", "hello " + exchange->request().query, {}});
    });
    server_->route("POST", "/echo", [](auto exchange) {
      exchange->respond({200, "text/plain", exchange->request().body, {}});
    });
    server_->route("GET", "/models/*", [](auto exchange) {
      exchange->respond({200, "text/plain", exchange->request().path, {}});
    });
    server_->route("GET", "/hold", [this](auto exchange) {
      const std::lock_guard lock(mutex_);
      held_.push_back(exchange);
    });
    server_->set_error_body([](int status, std::string_view message) {
      return fmt::format("{{\"status\":{},\"message\":\"{}\"}}", status, message);
    });
    if (before_start_) before_start_(*server_);
    server_->start();
  }

  /// One request on a connection of its own, which the answer ends.
  std::string ask(const std::string& request) {
    RawClient client(server_->port());
    client.send(request);
    return client.read_all();
  }

  std::shared_ptr<Exchange> wait_for_held() {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (!held_.empty()) return held_.back();
      }
      std::this_thread::sleep_for(10ms);
    }
    return nullptr;
  }

  ServerOptions options_;
  std::function<void(Server&)> before_start_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> held_;  // guarded by mutex_
  std::unique_ptr<Server> server_;               // last: its threads use the members above
};

TEST_F(ServerTest, AnswersWithLengthTypeAndId) {
  start();
  const std::string answer = ask(get_and_close("/hello?a=b", "X-Request-Id: my-id.1\r\n"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Request-Id: my-id.1\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\nhello a=b")) << answer;
}

TEST_F(ServerTest, ReplacesAnUnsafeRequestId) {
  start();
  const std::string answer = ask(get_and_close("/hello", "X-Request-Id: <script>\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("script")));
  EXPECT_THAT(answer, testing::ContainsRegex("X-Request-Id: [0-9a-f]+\r\n"));
}

TEST_F(ServerTest, RoutesByPrefixAndDecodesThePath) {
  start();
  EXPECT_THAT(ask(get_and_close("/models/a%2Fb%20c")), HasSubstr("\r\n\r\n/models/a/b c"));
  EXPECT_THAT(ask(get_and_close("http://other/models/x?y")), HasSubstr("\r\n\r\n/models/x"));
  EXPECT_THAT(ask(get_and_close("/modelsx")), StartsWith("HTTP/1.1 404 "));
}

TEST_F(ServerTest, UnknownPathAndWrongMethod) {
  start();
  const std::string missing = ask(get_and_close("/nothing"));
  EXPECT_THAT(missing, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(missing, HasSubstr("{\"status\":404,\"message\":\"there is nothing at /nothing\"}"));
  const std::string wrong = ask("DELETE /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(wrong, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(wrong, HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_THAT(ask("OPTIONS /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 405 "));
}

TEST_F(ServerTest, HeadIsGetWithoutBody) {
  start();
  const std::string answer = ask("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 6\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(ServerTest, TakesBodiesByLengthAndByChunks) {
  start();
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde"),
              HasSubstr("\r\n\r\nabcde"));
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"),
              HasSubstr("\r\n\r\nabc0123456789"));
}

TEST_F(ServerTest, TakesABodyByteByByte) {
  start();
  RawClient client(server_->port());
  for (const char c : std::string("\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")) {
    client.send(std::string(1, c));
    std::this_thread::sleep_for(200us);
  }
  EXPECT_THAT(client.read_all(), HasSubstr("\r\n\r\nab"));
}

TEST_F(ServerTest, SendsContinueBeforeTheBody) {
  start();
  RawClient client(server_->port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: "
      "2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_THAT(client.read_all(), HasSubstr("\r\n\r\nok"));
}

TEST_F(ServerTest, KeepsTheConnectionAlive) {
  start();
  RawClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    client.forget();
    client.send(get(fmt::format("/hello?{}", i)));
    EXPECT_THAT(client.read_until(fmt::format("hello {}", i)), Not(HasSubstr("Connection: close")));
  }
  client.forget();
  client.send(get("/nothing") + get("/hello?4"));
  EXPECT_THAT(client.read_until("hello 4"), HasSubstr("404"));
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  RawClient client(server_->port());
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += get(fmt::format("/hello?n{}.", i));
  client.send(requests + get_and_close("/hello?end"));
  const std::string answers = client.read_all();
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    const std::size_t next = answers.find(fmt::format("hello n{}.", i));
    ASSERT_NE(next, std::string::npos) << i;
    EXPECT_GE(next, at);
    at = next;
  }
  EXPECT_TRUE(answers.ends_with("hello end"));
}

TEST_F(ServerTest, Http10ClosesUnlessAskedToKeepAlive) {
  start();
  EXPECT_THAT(ask("GET /hello HTTP/1.0\r\n\r\n"), HasSubstr("\r\n\r\nhello "));
  RawClient client(server_->port());
  client.send("GET /hello?1. HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(client.read_until("hello 1."), HasSubstr("Connection: keep-alive\r\n"));
  client.send("GET /hello?2. HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.read_all(), HasSubstr("hello 2."));
}

TEST_F(ServerTest, StreamsInChunksFromAnotherThread) {
  std::vector<std::thread> threads;
  before_start_ = [&](Server& server) {
    server.route("GET", "/stream", [&](std::shared_ptr<Exchange> exchange) {
      threads.emplace_back([exchange] {
        exchange->begin_stream(200, "text/event-stream", {{"X-More", "a\r\nInjected: b"}});
        for (int i = 0; i < 3; ++i) {
          exchange->write(fmt::format("data: {}\n\n", i));
          exchange->write("");
          std::this_thread::sleep_for(5ms);
        }
        exchange->end_stream();
      });
    });
  };
  start();
  const std::string answer = ask(get_and_close("/stream"));
  const std::string http10 = ask("GET /stream HTTP/1.0\r\n\r\n");
  const std::string head = ask("HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-More: a  Injected: b\r\n"));
  std::string body = answer.substr(answer.find("\r\n\r\n") + 4);
  std::string decoded;
  for (std::size_t size = 1; size > 0;) {
    size = std::stoul(body, nullptr, 16);
    body.erase(0, body.find("\r\n") + 2);
    decoded += body.substr(0, size);
    body.erase(0, size + 2);
  }
  EXPECT_EQ(decoded, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  EXPECT_TRUE(http10.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n")) << http10;
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
}

TEST_F(ServerTest, ADroppedExchangeIsA500AndADroppedStreamIsCutOff) {
  before_start_ = [](Server& server) {
    server.route("GET", "/drop", [](auto) {});
    server.route("GET", "/throw", [](auto) { throw std::runtime_error("oops"); });
    server.route("GET", "/cut", [](auto exchange) {
      exchange->begin_stream(200, "text/plain");
      exchange->write("part");
    });
  };
  start();
  EXPECT_THAT(ask(get_and_close("/drop")), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(ask(get_and_close("/throw")), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(ask(get_and_close("/cut")), Not(HasSubstr("\r\n0\r\n\r\n")));
}

TEST_F(ServerTest, CorsIsOffUnlessAskedFor) {
  start();
  EXPECT_THAT(ask(get_and_close("/hello", "Origin: http://a\r\n")), Not(HasSubstr("Access-Control")));
}

TEST_F(ServerTest, CorsAllowsTheListedOrigins) {
  options_.cors_origin = "http://a, http://b:1";
  start();
  const std::string allowed = ask(get_and_close("/hello", "Origin: http://b:1\r\n"));
  EXPECT_THAT(allowed, HasSubstr("Access-Control-Allow-Origin: http://b:1\r\n"));
  EXPECT_THAT(allowed, HasSubstr("Vary: Origin\r\n"));
  EXPECT_THAT(ask(get_and_close("/hello", "Origin: http://c\r\n")), Not(HasSubstr("Access-Control")));
  const std::string preflight =
      ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: http://a\r\n"
          "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-y\r\n\r\n");
  EXPECT_THAT(preflight, StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(preflight, HasSubstr("Access-Control-Allow-Methods: POST\r\n"));
  EXPECT_THAT(preflight, HasSubstr("Access-Control-Allow-Headers: authorization,x-y\r\n"));
}

TEST_F(ServerTest, TheFilterAnswersBeforeTheBodyIsRead) {
  before_start_ = [](Server& server) {
    server.set_before([](const Request& request) -> std::optional<Response> {
      if (request.header("authorization") != nullptr) return std::nullopt;
      return Response{401, "text/plain", "no key", {{"WWW-Authenticate", "Bearer"}}};
    });
  };
  start();
  RawClient client(server_->port());
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
  const std::string refused = client.read_all();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(refused, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(ask(get_and_close("/nothing")), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(ask(get_and_close("/hello", "Authorization: Bearer x\r\n")), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ServerTest, TheObserverSeesSizesAndStatus) {
  struct Seen {
    std::string path;
    int status;
    std::size_t in, out;
  };
  std::vector<Seen> seen;
  before_start_ = [&](Server& server) {
    server.set_observer(
        [&](const Request& request, int status, std::size_t in, std::size_t out, double seconds) {
          EXPECT_GE(seconds, 0.0);
          seen.push_back({request.path, status, in, out});
        });
  };
  start();
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
  const std::string answer = ask(request);
  ask(get_and_close("/nothing"));
  server_->stop();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].status, 200);
  EXPECT_EQ(seen[0].in, request.size());
  EXPECT_EQ(seen[0].out, answer.size());
  EXPECT_EQ(seen[1].path, "/nothing");
  EXPECT_EQ(seen[1].status, 404);
}

TEST_F(ServerTest, APortInUseIsOneClearLine) {
  start();
  ServerOptions second;
  second.port = server_->port();
  const auto result = Server::create(second);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, base::Code::kUnavailable);
  EXPECT_EQ(result.error().text(),
            fmt::format("127.0.0.1:{} is in use: stop the other program or choose --port", server_->port()));
  server_->stop();
  server_.reset();
  EXPECT_TRUE(Server::create(second).ok());
}

TEST_F(ServerTest, AHostThatIsNotOursIsRefused) {
  for (const char* host : {"192.0.2.1", "no such host", "-"}) {
    options_.host = host;
    const auto result = Server::create(options_);
    ASSERT_FALSE(result.ok()) << host;
    EXPECT_EQ(result.error().code, base::Code::kInvalidArgument);
    EXPECT_THAT(result.error().text(), HasSubstr("--host"));
  }
}

TEST_F(ServerTest, DrainsWithoutCuttingTheRunningAnswer) {
  start();
  RawClient busy(server_->port());
  RawClient idle(server_->port());
  idle.send(get("/hello"));
  idle.read_until("hello ");
  busy.send(get("/hold"));
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  server_->begin_drain();
  EXPECT_FALSE(server_->wait_idle(20ms));
  // Whoever asks meanwhile is answered, on an old connection or a new one, and told to go.
  RawClient late(server_->port());
  for (RawClient* client : {&idle, &late}) {
    client->send(get("/hello"));
    EXPECT_THAT(client->read_all(), HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(client->peer_closed());
  }
  exchange->respond({200, "text/plain", "late", {}});
  const std::string answer = busy.read_all();
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(answer.ends_with("late"));
  EXPECT_TRUE(server_->wait_idle(5s));
}

TEST_F(ServerTest, StopCancelsWhatIsInFlight) {
  start();
  RawClient client(server_->port());
  client.send(get("/hold"));
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  std::atomic<int> calls = 0;
  exchange->on_cancel([&] { ++calls; });
  exchange->begin_stream(200, "text/plain");
  EXPECT_TRUE(exchange->write("x"));
  server_->stop();
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(exchange->cancelled());
  EXPECT_FALSE(exchange->write("y"));
  exchange->end_stream();
  server_->stop();
  server_.reset();
  EXPECT_FALSE(exchange->write("after the server is gone"));
}

TEST_F(ServerTest, ServesManyConnectionsAtOnce) {
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<RawClient>(server_->port()));
    ASSERT_TRUE(clients.back()->send(get("/hold")));
  }
  for (int i = 0; i < 1000; ++i) {
    std::this_thread::sleep_for(10ms);
    const std::lock_guard lock(mutex_);
    if (held_.size() == clients.size()) break;
  }
  {
    const std::lock_guard lock(mutex_);
    ASSERT_EQ(held_.size(), clients.size());
    for (const auto& exchange : held_) exchange->begin_stream(200, "text/plain");
    for (int round = 0; round < 5; ++round) {
      for (const auto& exchange : held_) EXPECT_TRUE(exchange->write("tick"));
    }
    for (const auto& exchange : held_) exchange->end_stream();
  }
  for (const auto& client : clients) EXPECT_THAT(client->read_until("0\r\n\r\n"), HasSubstr("tick"));
}

}  // namespace
}  // namespace tw::http
