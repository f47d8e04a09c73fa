// For tests: a small model hub on this machine, which can be told to misbehave, and wheels made on the spot.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "http/server.h"
#include "io/sha256.h"

namespace tw::hub {

inline std::string sha256_of(std::string_view text) {
  io::Sha256 hash;
  hash.add(text);
  return io::to_hex(hash.finish());
}

/// "GGUF" and then `size` bytes.
inline std::string fake_gguf(std::size_t size, int seed = 0) {
  std::string text = "GGUF";
  for (std::size_t i = 0; i < size; ++i)
    text += static_cast<char>((i * 31 + i / 977 + static_cast<std::size_t>(seed)) % 251);
  return text;
}

/// Files at their paths, with range requests and ETags.
class FakeHub {
 public:
  using Trouble = std::function<void(http::Exchange&)>;
  struct Seen {
    std::string path, query, range, authorization;
  };

  FakeHub() {
    http::ServerOptions options;
    options.port = 0;
    auto server = http::Server::create(options);
    if (!server.ok()) std::abort();
    server_ = std::move(*server);
    server_->route("GET", "/*", [this](auto exchange) { serve(*exchange); });
    server_->start();
  }
  ~FakeHub() { server_->stop(); }

  std::string url() const { return server_->url(); }
  int port() const { return server_->port(); }

  void put(const std::string& path, std::string content) {
    const std::lock_guard lock(mutex_);
    files_[path] = std::move(content);
  }

  /// A file of a repository, at the commit that the listing names: what the listing says of it may be false.
  void put_model_file(const std::string& repo, const std::string& file, const std::string& content,
                      bool large = true) {
    put("/" + repo + "/resolve/0123abc/" + file, content);
    list(repo, file, content.size(), large ? sha256_of(content) : "");
  }
  void list(const std::string& repo, const std::string& file, std::size_t size, const std::string& sha256) {
    const std::lock_guard lock(mutex_);
    std::string& siblings = siblings_[repo];
    siblings += fmt::format("{}{{\"rfilename\":\"{}\",\"size\":{}", siblings.empty() ? "" : ",", file, size);
    if (!sha256.empty()) siblings += fmt::format(",\"lfs\":{{\"sha256\":\"{}\",\"size\":{}}}", sha256, size);
    siblings += "}";
    files_["/api/models/" + repo] = fmt::format(
        "{{\"id\":\"{}\",\"sha\":\"0123abc\",\"cardData\":{{\"license\":\"mit\"}},\"siblings\":[{}]}}", repo,
        siblings);
  }

  /// The next requests of that path get these instead, one after the other.
  void trouble(const std::string& path, std::vector<Trouble> troubles) {
    const std::lock_guard lock(mutex_);
    troubles_[path] = std::move(troubles);
  }
  static Trouble status(int status, std::vector<http::Header> headers = {}, std::string body = "") {
    return [=](http::Exchange& e) { e.respond({status, "text/html", body, headers}); };
  }
  /// The first `bytes` of the file, then the connection breaks.
  Trouble cut(const std::string& path, std::size_t bytes) {
    return [=, this](http::Exchange& exchange) {
      exchange.begin_stream(200, "application/octet-stream",
                            {{"ETag", "\"" + sha256_of(files_[path]) + "\""}});
      exchange.write(files_[path].substr(0, bytes));
    };
  }

  std::vector<Seen> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void serve(http::Exchange& exchange) {
    const http::Request& request = exchange.request();
    const auto text = [&](const char* name) {
      return request.header(name) != nullptr ? *request.header(name) : std::string();
    };
    const std::lock_guard lock(mutex_);
    seen_.push_back({request.path, request.query, text("Range"), text("Authorization")});
    if (auto it = troubles_.find(request.path); it != troubles_.end() && !it->second.empty()) {
      const Trouble trouble = it->second.front();
      it->second.erase(it->second.begin());
      return trouble(exchange);
    }
    const auto file = files_.find(request.path);
    if (file == files_.end()) return exchange.respond({404, "text/plain", "no such file", {}});
    const std::string& content = file->second;
    const std::string tag = "\"" + sha256_of(content) + "\"";
    std::size_t from = 0;
    if (!text("Range").empty() && (text("If-Range").empty() || text("If-Range") == tag))
      from = std::stoul(text("Range").substr(6));
    if (from == 0 || from >= content.size())
      return exchange.respond({200, "application/octet-stream", content, {{"ETag", tag}}});
    exchange.respond(
        {206,
         "application/octet-stream",
         content.substr(from),
         {{"ETag", tag},
          {"Content-Range", fmt::format("bytes {}-{}/{}", from, content.size() - 1, content.size())}}});
  }

  mutable std::mutex mutex_;  // guards all but the server
  std::map<std::string, std::string> files_, siblings_;
  std::map<std::string, std::vector<Trouble>> troubles_;
  std::vector<Seen> seen_;
  std::unique_ptr<http::Server> server_;
};

/// A folder that is removed again.
class TempFolder {
 public:
  TempFolder() {
    static int count = 0;
    path_ = fmt::format("{}hub_test.{}.{}", testing::TempDir(), ::getpid(), ++count);
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
    return path_ + "/" + name;
  }
  int entries(const std::string& below = "") const {
    std::error_code ec;
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(path_ + below, ec), {}));
  }

 private:
  std::string path_;
};

/// Writes a zip with these members. `deflate` off stores them as they are.
inline void make_zip(const std::string& path, const std::vector<std::pair<std::string, std::string>>& members,
                     bool deflate = true) {
  int problem = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &problem);
  ASSERT_NE(zip, nullptr);
  for (const auto& [name, content] : members) {
    zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
    const zip_int64_t index = zip_file_add(zip, name.c_str(), source, 0);
    ASSERT_GE(index, 0) << name;
    if (!deflate) zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

}  // namespace tw::hub
