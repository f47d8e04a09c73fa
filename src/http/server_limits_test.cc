// What a hostile, slow or vanishing client gets.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "http/server.h"
#include "http/test_client.h"

namespace tw::http {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using testing::HasSubstr;
using testing::StartsWith;

std::string get(std::string_view path) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path);
}

/// A server whose /hold keeps the exchange and notes when it is cancelled.
class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.port = 0;
    options_.max_body_bytes = 1000;
    options_.max_header_bytes = 2048;
  }

  void start() {
    auto server = Server::create(options_);
    ASSERT_TRUE(server.ok()) << server.error().text();
    server_ = std::move(*server);
    const Handler hold = [this](std::shared_ptr<Exchange> exchange) {
      exchange->on_cancel([this] {
        const std::lock_guard lock(mutex_);
        cancelled_at_ = Clock::now();
        ++cancels_;
        changed_.notify_all();
      });
      const std::lock_guard lock(mutex_);
      held_ = std::move(exchange);
      changed_.notify_all();
    };
    server_->route("GET", "/hold", hold);
    server_->route("POST", "/hold", hold);
    server_->route("POST", "/echo", [](auto exchange) {
      exchange->respond({200, "text/plain", exchange->request().body, {}});
    });
    server_->route("GET", "/hello",
                   [](auto exchange) { exchange->respond({200, "text/plain", "hello", {}}); });
    server_->start();
  }

  std::string ask(const std::string& request) {
    RawClient client(server_->port());
    client.send(request);
    return client.read_all();
  }

  std::shared_ptr<Exchange> wait_for_held() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 30s, [&] { return held_ != nullptr; });
    return held_;
  }

  void forget_held() {
    const std::lock_guard lock(mutex_);
    kept_.push_back(std::move(held_));  // dropping it would answer it
    held_.reset();
    cancels_ = 0;
  }

  /// Seconds from `since` to the cancel callback; a large number when none comes.
  double cancel_delay(Clock::time_point since) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 30s, [&] { return cancels_ > 0; })) return 1e9;
    return std::chrono::duration<double>(cancelled_at_ - since).count();
  }

  ServerOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Exchange> held_;
  std::vector<std::shared_ptr<Exchange>> kept_;
  Clock::time_point cancelled_at_;
  int cancels_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(LimitsTest, MalformedRequestsGet400AndAreClosed) {
  start();
  const std::string post = "POST /echo HTTP/1.1\r\nHost: x\r\n";
  for (const std::string& request : {
           std::string("GARBAGE\r\n\r\n"),
           std::string("GET /hello\r\n\r\n"),
           std::string("GET  /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("G\x01T /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET /hello HTTP/1.1\r\n\r\n"),
           std::string("GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
           std::string("GET /hello HTTP/1.1\r\nHost: x\r\nBad Name: v\r\n\r\n"),
           std::string("GET /hello HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n"),
           std::string("GET /hel%zzlo HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET /hello%00 HTTP/1.1\r\nHost: x\r\n\r\n"),
           std::string("GET hello HTTP/1.1\r\nHost: x\r\n\r\n"),
           post + "Content-Length: -1\r\n\r\n",
           post + "Content-Length: 1x\r\n\r\n",
           post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
           post + "Content-Length: 99999999999999999999\r\n\r\n",
           post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
           post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
           post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
           post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
       }) {
    EXPECT_THAT(ask(request), StartsWith("HTTP/1.1 400 ")) << testing::PrintToString(request);
  }
  // A chunk of 2^72 bytes is well-formed, and too large.
  EXPECT_THAT(ask(post + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("GET /hello HTTP/2.0\r\nHost: x\r\n\r\n"), testing::ContainsRegex("^HTTP/1.1 (400|505) "));
  EXPECT_THAT(ask(post + "Transfer-Encoding: gzip\r\n\r\n"), testing::ContainsRegex("^HTTP/1.1 (400|501) "));
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 200 "));
}

TEST_F(LimitsTest, TooLargeHeadersGet431) {
  start();
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: x\r\nA: " + std::string(5000, 'a') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask("GET /" + std::string(5000, 'a')), StartsWith("HTTP/1.1 431 "));
  options_.max_header_bytes = 1 << 20;
  start();
  std::string many = "GET /hello HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 300; ++i) many += "A: b\r\n";
  EXPECT_THAT(ask(many + "\r\n"), StartsWith("HTTP/1.1 431 "));
}

TEST_F(LimitsTest, TooLargeBodiesGet413) {
  start();
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "7D0\r\n" +
                  std::string(2000, 'a') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  const std::string just_right =
      ask("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" +
          std::string(1000, 'a'));
  EXPECT_THAT(just_right, StartsWith("HTTP/1.1 200 "));
}

TEST_F(LimitsTest, AClientThatSendsItsHugeBodyFirstStillReadsThe413) {
  start();
  RawClient client(server_->port());
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
  EXPECT_TRUE(client.send(std::string(3000000, 'a')));
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(LimitsTest, EndlessChunkHeadersAndTrailersAreCutOff) {
  start();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(ask(head + "1;" + std::string(100000, 'x')), StartsWith("HTTP/1.1 4"));
  EXPECT_THAT(ask(head + "0\r\nA: " + std::string(100000, 'x')), StartsWith("HTTP/1.1 4"));
}

TEST_F(LimitsTest, SlowHeadersAndBodiesGet408WhileOthersAreServed) {
  options_.header_timeout = 1s;
  options_.body_timeout = 1s;
  start();
  RawClient slow_header(server_->port());
  RawClient slow_body(server_->port());
  RawClient silent(server_->port());
  slow_header.send("GET /hello HTTP/1.1\r\nHost");
  slow_body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  const auto begin = Clock::now();
  while (Clock::now() - begin < 900ms) {
    slow_header.send("x");  // progress does not buy time
    slow_body.send("x");
    EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                StartsWith("HTTP/1.1 200 "));
    std::this_thread::sleep_for(100ms);
  }
  EXPECT_THAT(slow_header.read_all(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(slow_body.read_all(), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(silent.peer_closed());
  EXPECT_LT(Clock::now() - begin, 20s);
}

TEST_F(LimitsTest, IdleConnectionsAreClosed) {
  options_.idle_timeout = 1s;
  start();
  RawClient client(server_->port());
  client.send(get("/hello"));
  EXPECT_THAT(client.read_all(), HasSubstr("hello"));
  EXPECT_TRUE(client.peer_closed());
}

// Delays are the best of several tries: a busy machine must not fail the test, a slow mechanism must.
TEST_F(LimitsTest, ADisconnectDuringSilenceIsNoticedAtOnce) {
  start();
  for (const bool streaming : {false, true}) {
    double best = 1e9;
    for (int i = 0; i < 20 && best > 0.1; ++i) {
      forget_held();
      RawClient client(server_->port());
      client.send(get("/hold"));
      const auto exchange = wait_for_held();
      ASSERT_TRUE(exchange);
      if (streaming) exchange->begin_stream(200, "text/event-stream");
      EXPECT_FALSE(exchange->cancelled());
      const auto left = Clock::now();
      client.close();
      best = std::min(best, cancel_delay(left));
      EXPECT_TRUE(exchange->cancelled());
      EXPECT_FALSE(streaming && exchange->write("x"));
      EXPECT_TRUE(server_->wait_idle(10s));
    }
    EXPECT_LT(best, 0.1);
  }
}

TEST_F(LimitsTest, ADisconnectIsNoticedBehindPipelinedRequests) {
  start();
  double best = 1e9;
  for (int i = 0; i < 20 && best > 0.1; ++i) {
    forget_held();
    RawClient client(server_->port());
    client.send(get("/hold") + get("/hello"));
    ASSERT_TRUE(wait_for_held());
    std::this_thread::sleep_for(20ms);
    const auto left = Clock::now();
    client.close();
    best = std::min(best, cancel_delay(left));
  }
  EXPECT_LT(best, 0.1);
}

TEST_F(LimitsTest, PipelinedRequestsWaitBehindASlowOne) {
  start();
  RawClient client(server_->port());
  std::string many = get("/hold");
  for (int i = 0; i < 300; ++i) many += get("/hello");
  client.send(many);
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  exchange->respond({200, "text/plain", "first", {}});
  const std::string answers = client.read_until("\r\n\r\nhello", 300);
  EXPECT_LT(answers.find("first"), answers.find("hello"));
  EXPECT_THAT(answers, testing::EndsWith("hello"));
}

TEST_F(LimitsTest, ABacklogCancelsTheStream) {
  options_.max_backlog = 1 << 20;
  start();
  RawClient client(server_->port(), 4096);
  client.send(get("/hold"));
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  exchange->begin_stream(200, "text/plain");
  std::size_t accepted = 0;
  while (accepted < (std::size_t{64} << 20) && exchange->write(std::string(100000, 'x'))) {
    accepted += 100000;
    std::this_thread::sleep_for(1ms);  // lets the I/O thread get stuck in a write
  }
  EXPECT_LT(accepted, std::size_t{16} << 20);  // the backlog, and what the kernel's buffers took
  EXPECT_GE(accepted, std::size_t{1} << 19);
  EXPECT_TRUE(exchange->cancelled());
  EXPECT_LT(cancel_delay(Clock::now()), 20.0);
  EXPECT_EQ(cancels_, 1);
}

TEST_F(LimitsTest, AReaderThatStopsIsCutOffByTime) {
  options_.write_timeout = 1s;
  options_.max_backlog = 256 << 20;
  start();
  RawClient client(server_->port(), 4096);
  client.send(get("/hold"));
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  const auto begin = Clock::now();
  exchange->respond({200, "text/plain", std::string(64 << 20, 'x'), {}});
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 200 "));
  EXPECT_LT(cancel_delay(begin), 20.0);
}

TEST_F(LimitsTest, OnCancelSetTooLateStillRuns) {
  start();
  RawClient client(server_->port());
  client.send(get("/hold"));
  const auto exchange = wait_for_held();
  ASSERT_TRUE(exchange);
  client.close();
  cancel_delay(Clock::now());
  std::atomic<int> calls = 0;
  exchange->on_cancel([&] { ++calls; });
  for (int i = 0; i < 200 && calls == 0; ++i) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(calls, 1);
  exchange->respond({});  // does nothing
}

TEST_F(LimitsTest, WhenFullTheIdleGiveWayAndElse503) {
  options_.max_connections = 3;
  start();
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 2; ++i) {
    busy.push_back(std::make_unique<RawClient>(server_->port()));
    forget_held();
    busy.back()->send(get("/hold"));
    ASSERT_TRUE(wait_for_held());
  }
  RawClient idle(server_->port());
  idle.send(get("/hello"));
  idle.read_until("hello");
  RawClient next(server_->port());
  next.send(get("/hello"));
  EXPECT_THAT(next.read_until("hello"), HasSubstr("200 OK"));
  idle.read_all();
  EXPECT_TRUE(idle.peer_closed());
  forget_held();
  next.send(get("/hold"));
  ASSERT_TRUE(wait_for_held());
  RawClient refused(server_->port());
  EXPECT_THAT(refused.read_all(), StartsWith("HTTP/1.1 503 "));
}

constexpr std::string_view kHalfBody = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";

/// However many hold connections open with half a request, those who ask are answered, the slowest pay.
TEST_F(LimitsTest, WhenFullTheSlowestSendersGiveWay) {
  options_.max_connections = 4;
  start();
  RawClient answered(server_->port());
  answered.send(get("/hold"));
  ASSERT_TRUE(wait_for_held());
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(std::make_unique<RawClient>(server_->port()));
    slow.back()->send(i % 2 == 0 ? std::string(kHalfBody) : "GET /hello HTT");
    std::this_thread::sleep_for(2ms);
    if (i % 8 == 0) {
      EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                  StartsWith("HTTP/1.1 200 "));
    }
  }
  slow.front()->read_all(5000);
  EXPECT_TRUE(slow.front()->peer_closed());
  slow[38]->send("defghij");
  EXPECT_THAT(slow[38]->read_until("abcdefghij"), HasSubstr("200 OK")) << "one of the last, and not hurt";
  held_->respond({200, "text/plain", "held", {}});
  EXPECT_THAT(answered.read_until("held"), HasSubstr("200 OK"));
}

/// The limit that a machine sets may be lower than ours.
TEST_F(LimitsTest, WithoutFileDescriptorsTheSlowestSendersGiveWay) {
  start();
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 8; ++i) {
    slow.push_back(std::make_unique<RawClient>(server_->port()));
    // Answered once, so that the server's end is there before the next client's: its number is the lower one.
    slow.back()->send(get("/hello"));
    ASSERT_THAT(slow.back()->read_until("hello"), HasSubstr("200 OK"));
    slow.back()->send(kHalfBody);
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(STDIN_FILENO);
  ::close(next);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(next) + 1;  // enough for the client's end of one more
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  RawClient client(server_->port());
  client.send(get("/hello"));
  const std::string answer = client.read_until("hello", 1, 5000);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST_F(LimitsTest, ManyClientsThatVanishAtRandomLeaveNothingBehind) {
  std::atomic<int> begun = 0, ended = 0;
  std::vector<std::thread> workers;
  std::mutex workers_mutex;
  start();
  {
    auto server = Server::create(options_);
    ASSERT_TRUE(server.ok());
    (*server)->route("GET", "/stream", [&](std::shared_ptr<Exchange> exchange) {
      ++begun;
      const std::lock_guard lock(workers_mutex);
      workers.emplace_back([&ended, exchange] {
        exchange->begin_stream(200, "text/event-stream");
        for (int i = 0; i < 20 && exchange->write("data: x\n\n"); ++i) std::this_thread::sleep_for(1ms);
        exchange->end_stream();
        ++ended;
      });
    });
    (*server)->start();
    std::vector<std::thread> clients;
    for (int c = 0; c < 16; ++c) {
      clients.emplace_back([&, c] {
        for (int i = 0; i < 10; ++i) {
          RawClient client((*server)->port());
          client.send(get("/stream"));
          if ((c + i) % 3 != 0) client.read_until("0\r\n\r\n", 1, (c * 7 + i * 3) % 25);
        }
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_TRUE((*server)->wait_idle(10s));
    (*server)->stop();
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(begun, ended);
  EXPECT_GT(begun, 0);
}

}  // namespace
}  // namespace tw::http
