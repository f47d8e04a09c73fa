#include "http/client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/mmap.h"
#include "http/server.h"

namespace tw::http {
namespace {

using namespace std::chrono_literals;
using base::Code;
using testing::HasSubstr;

/// A server with one file that knows ranges, and can be told to misbehave.
class ClientTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "client_test." + std::to_string(::getpid()) + "." +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ + "/file";
    for (int i = 0; i < 300'000; ++i) content_ += static_cast<char>(i * 7 + i / 256);
    ServerOptions options;
    options.port = 0;
    auto server = Server::create(options);
    ASSERT_TRUE(server.ok());
    server_ = std::move(*server);
    server_->route("GET", "/file", [this](auto exchange) { serve(*exchange); });
    server_->route("GET", "/echo", [](auto exchange) {
      const std::string* key = exchange->request().header("Authorization");
      exchange->respond({200, "text/plain", key != nullptr ? *key : "none", {{"X-Two", " b "}}});
    });
    server_->route("POST", "/post",
                   [](auto e) { e->respond({201, "text/plain", e->request().body + "!", {}}); });
    server_->route("GET", "/hold", [this](auto exchange) {
      const std::lock_guard lock(mutex_);
      held_ = exchange;
    });
    server_->route("GET", "/loop", [](auto e) { e->respond({302, "", "", {{"Location", "/loop"}}}); });
    server_->route("GET", "/to/*", [](auto e) {
      e->respond({302, "", "body of the redirect", {{"Location", e->request().query}}});
    });
    server_->route("GET", "/events", [](auto exchange) {
      exchange->begin_stream(200, "text/event-stream");
      for (int i = 0; i < 5; ++i) exchange->write(fmt::format("data: {}\n\n", i));
      exchange->end_stream();
    });
    server_->start();
  }
  void TearDown() override {
    server_->stop();
    std::filesystem::remove_all(folder_);
  }

  void serve(Exchange& exchange) {
    const std::lock_guard lock(mutex_);
    const std::string* range = exchange.request().header("Range");
    const std::string* condition = exchange.request().header("If-Range");
    ranges_.push_back(range != nullptr ? *range : "");
    std::size_t from = 0;
    if (ranges_known_ && range != nullptr && (condition == nullptr || *condition == etag_)) {
      from = std::stoul(range->substr(6));
    }
    std::vector<Header> headers;
    if (!etag_.empty()) headers.push_back({"ETag", etag_});
    if (from >= content_.size() && from > 0) {
      headers.push_back({"Content-Range", fmt::format("bytes */{}", content_.size())});
      return exchange.respond({416, "", "", headers});
    }
    const std::size_t shown = from + static_cast<std::size_t>(lie_);
    if (from > 0) {
      headers.push_back(
          {"Content-Range", fmt::format("bytes {}-{}/{}", shown, content_.size() - 1, content_.size())});
    }
    const int status = from > 0 ? 206 : 200;
    const std::string rest = content_.substr(from);
    if (cut_ == 0) return exchange.respond({status, "application/octet-stream", rest, headers});
    exchange.begin_stream(status, "application/octet-stream", headers);
    exchange.write(rest.substr(0, std::exchange(cut_, 0)));  // and is dropped without an end
  }

  std::string url(std::string_view path) const { return server_->url() + std::string(path); }
  std::string on_disk(const std::string& path) const {
    auto text = base::read_file(path);
    return text.ok() ? *text : "(" + text.error().text() + ")";
  }

  std::string folder_, path_, content_;
  std::mutex mutex_;  // guards what the handlers share
  std::vector<std::string> ranges_;
  std::string etag_ = "\"one\"";
  bool ranges_known_ = true;
  int lie_ = 0;
  std::size_t cut_ = 0;
  std::shared_ptr<Exchange> held_;
  std::unique_ptr<Server> server_;
};

TEST_F(ClientTest, GetsAndPosts) {
  const auto got = get(url("/echo"), {{"Authorization", "Bearer k"}});
  ASSERT_TRUE(got.ok()) << got.error().text();
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "Bearer k");
  EXPECT_EQ(*got->header("x-two"), "b");
  const std::string big(100'000, 'b');
  const auto posted = post(url("/post"), {{"Content-Type", "text/plain"}}, big);
  ASSERT_TRUE(posted.ok()) << posted.error().text();
  EXPECT_EQ(posted->status, 201);
  EXPECT_EQ(posted->body, big + "!");
  EXPECT_EQ(get(url("/nothing"))->status, 404);
}

TEST_F(ClientTest, OnlyHttpAndHttps) {
  for (const char* url : {"file:///etc/passwd", "ftp://x/y", "gopher://x", "nonsense://", ""}) {
    const auto got = get(url);
    ASSERT_FALSE(got.ok()) << url;
    EXPECT_EQ(got.error().code, Code::kInvalidArgument) << got.error().text();
  }
  EXPECT_FALSE(get(url("/to/x?file:///etc/passwd")).ok());
}

TEST_F(ClientTest, NamesWhatCannotBeReachedWithoutSecrets) {
  const auto refused = get("http://user:secret@127.0.0.1:1/x?token=secret");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_THAT(refused.error().text(), HasSubstr("http://127.0.0.1:1/x"));
  EXPECT_THAT(refused.error().text(), testing::Not(HasSubstr("secret")));
  EXPECT_EQ(public_url("https://a@b/c@d?e#f"), "https://b/c@d");
}

TEST_F(ClientTest, FollowsFewRedirectsAndKeepsTheKeyFromOtherHosts) {
  const auto same = get(url("/to/x?/echo"), {{"Authorization", "Bearer k"}});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->body, "Bearer k");
  EXPECT_EQ(same->url, url("/echo"));
  const std::string other = fmt::format("http://localhost:{}/echo", server_->port());
  const auto elsewhere = get(url("/to/x?" + other), {{"Authorization", "Bearer k"}});
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.error().text();
  EXPECT_EQ(elsewhere->body, "none");
  const auto loop = get(url("/loop"));
  ASSERT_FALSE(loop.ok());
  EXPECT_THAT(loop.error().text(), HasSubstr("circles"));
  ClientOptions none;
  none.max_redirects = 0;
  EXPECT_EQ(get(url("/loop"), {}, none)->status, 302);
}

TEST_F(ClientTest, LimitsSizeAndTime) {
  ClientOptions options;
  options.max_bytes = 1000;
  const auto large = get(url("/file"), {}, options);
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code, Code::kResourceExhausted);
  options.timeout = 200ms;
  const auto slow = get(url("/hold"), {}, options);
  ASSERT_FALSE(slow.ok());
  EXPECT_EQ(slow.error().code, Code::kUnavailable);
}

TEST_F(ClientTest, CanBeCancelled) {
  std::atomic<bool> cancel = false;
  ClientOptions options;
  options.cancel = &cancel;
  std::thread later([&] {
    std::this_thread::sleep_for(100ms);
    cancel = true;
  });
  const auto got = get(url("/hold"), {}, options);
  later.join();
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, Code::kCancelled);
}

TEST_F(ClientTest, StreamsPieceByPiece) {
  std::string all;
  const auto collect = [&](std::string_view piece) {
    all += piece;
    return true;
  };
  const auto streamed = stream(url("/events"), {}, std::nullopt, collect);
  ASSERT_TRUE(streamed.ok()) << streamed.error().text();
  EXPECT_EQ(all, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
  all.clear();
  const auto missing = stream(url("/nothing"), {}, "body", collect);
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(all, "");
  EXPECT_NE(missing->body, "");
  const auto ended = stream(url("/events"), {}, std::nullopt, [](std::string_view) { return false; });
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, Code::kCancelled);
}

TEST_F(ClientTest, DownloadsAFile) {
  std::uint64_t last = 0, total = 0;
  DownloadOptions options;
  options.progress = [&](std::uint64_t done, std::uint64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  };
  const auto result = download(url("/file"), {}, path_, options);
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->size, content_.size());
  EXPECT_EQ(on_disk(path_), content_);
  EXPECT_EQ(last, content_.size());
  EXPECT_EQ(total, content_.size());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1)
      << "nothing but the file is left";
}

TEST_F(ClientTest, ResumesAfterACut) {
  cut_ = 100'000;
  const auto cut = download(url("/file"), {}, path_);
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code, Code::kUnavailable) << cut.error().text();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(std::filesystem::file_size(path_ + ".partial"), 100'000u);
  const auto resumed = download(url("/file"), {}, path_);
  ASSERT_TRUE(resumed.ok()) << resumed.error().text();
  EXPECT_EQ(resumed->resumed_from, 100'000u);
  EXPECT_EQ(on_disk(path_), content_);
  EXPECT_EQ(ranges_, (std::vector<std::string>{"", "bytes=100000-"}));
}

TEST_F(ClientTest, StartsAnewWhenTheFileChanged) {
  cut_ = 100'000;
  ASSERT_FALSE(download(url("/file"), {}, path_).ok());
  etag_ = "\"two\"";
  std::reverse(content_.begin(), content_.end());
  const auto result = download(url("/file"), {}, path_);
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->resumed_from, 0u);
  EXPECT_EQ(on_disk(path_), content_);
}

TEST_F(ClientTest, StartsAnewWhenNothingTellsThatTheFileIsTheSame) {
  etag_.clear();
  cut_ = 100'000;
  ASSERT_FALSE(download(url("/file"), {}, path_).ok());
  ASSERT_TRUE(download(url("/file"), {}, path_).ok());
  EXPECT_EQ(ranges_.back(), "");
  EXPECT_EQ(on_disk(path_), content_);
}

TEST_F(ClientTest, StartsAnewWhenTheServerKnowsNoRangesOrWrongOnes) {
  for (const int lie : {0, 5}) {
    std::filesystem::remove(path_);
    ranges_known_ = lie != 0;
    lie_ = 0;
    cut_ = 100'000;
    ASSERT_FALSE(download(url("/file"), {}, path_).ok());
    lie_ = lie;
    const auto result = download(url("/file"), {}, path_);
    ASSERT_TRUE(result.ok()) << result.error().text();
    EXPECT_EQ(on_disk(path_), content_);
  }
}

TEST_F(ClientTest, APartThatIsWholeNeedsNothingMore) {
  std::ofstream(path_ + ".partial", std::ios::binary) << content_;
  std::ofstream(path_ + ".partial.id") << etag_;
  const auto result = download(url("/file"), {}, path_);  // 416 with the same total
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->resumed_from, content_.size());
  EXPECT_EQ(on_disk(path_), content_);
  std::ofstream(path_ + ".partial", std::ios::binary) << content_ << "more";
  std::ofstream(path_ + ".partial.id") << etag_;
  ASSERT_TRUE(download(url("/file"), {}, path_).ok());  // 416 with another total
  EXPECT_EQ(on_disk(path_), content_);
}

TEST_F(ClientTest, ChecksTheExpectedSize) {
  DownloadOptions options;
  for (const int difference : {-1, 1}) {
    options.expected_size = content_.size() + static_cast<std::size_t>(difference);
    const auto result = download(url("/file"), {}, path_, options);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Code::kCorrupt) << result.error().text();
    EXPECT_FALSE(std::filesystem::exists(path_));
    EXPECT_FALSE(std::filesystem::exists(path_ + ".partial"));
  }
  options.expected_size.reset();
  options.max_bytes = 1000;
  EXPECT_EQ(download(url("/file"), {}, path_, options).error().code, Code::kCorrupt);
}

TEST_F(ClientTest, AnErrorStatusKeepsThePart) {
  std::ofstream(path_ + ".partial") << "abc";
  std::ofstream(path_ + ".partial.id") << etag_;
  const auto result = download(url("/nothing"), {}, path_);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->status, 404);
  EXPECT_THAT(result->body, HasSubstr("/nothing"));
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(on_disk(path_ + ".partial"), "abc");
}

TEST_F(ClientTest, NamesAFolderThatCannotBeWritten) {
  const auto result = download(url("/file"), {}, folder_ + "/missing/file");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::kIo);
  EXPECT_THAT(result.error().text(), HasSubstr("/missing/file.partial"));
}

}  // namespace
}  // namespace tw::http
