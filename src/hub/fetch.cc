#include "hub/fetch.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/env.h"
#include "base/mmap.h"
#include "io/sha256.h"

namespace tw::hub {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::error;
using base::Result;
using base::Status;
using Clock = std::chrono::steady_clock;

bool may_pass(int status) {
  return status == 408 || status == 429 || (status >= 500 && status <= 504);
}

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && *flag;
}

http::ClientOptions client_options(const PullOptions& options) {
  http::ClientOptions client;
  client.cancel = options.cancel;
  client.ca_file = base::env::ssl_cert_file().value_or("");
  return client;
}

/// Turns byte counts into PullProgress, at most 10 times a second.
class Meter {
 public:
  Meter(const PullOptions& options, std::string file) : options_(options), file_(std::move(file)) {}

  void operator()(std::uint64_t done, std::uint64_t total) {
    const auto now = Clock::now();
    if (!first_) first_ = {now, done};
    if (!options_.progress || (now - last_ < std::chrono::milliseconds(100) && done != total)) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - first_->first).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first_->second) / seconds : 0;
    options_.progress({PullProgress::Stage::kDownload, file_, done, total, rate});
  }
  void restart() { first_.reset(); }

 private:
  const PullOptions& options_;
  const std::string file_;
  std::optional<std::pair<Clock::time_point, std::uint64_t>> first_;
  Clock::time_point last_{};
};

}  // namespace

Fetcher::Fetcher(const PullOptions& options, std::vector<http::Header> headers)
    : options_(options), headers_(std::move(headers)) {}

base::Error Fetcher::refuse(const std::string& url, int status) const {
  const std::string shown = http::public_url(url);
  if (status == 401 || status == 403) {
    return error(Code::kInvalidArgument,
                 "{} needs a login (status {}): set HF_TOKEN, and accept the model's terms on its page",
                 shown, status);
  }
  if (status == 404)
    return error(Code::kNotFound, "{} does not exist (status 404): check the spelling", shown);
  if (may_pass(status))
    return error(Code::kUnavailable, "{} answered with status {}: try again later", shown, status);
  return error(Code::kIo, "{} answered with status {}", shown, status);
}

/// Sleeps as long as the server asks, or with exponential backoff.
Status Fetcher::wait_before(int attempt, const std::string* retry_after, const std::string& url) const {
  std::chrono::milliseconds pause = options_.backoff * (1 << std::min(attempt, 6));
  int seconds = 0;
  if (retry_after != nullptr) {
    const auto [end, problem] =
        std::from_chars(retry_after->data(), retry_after->data() + retry_after->size(), seconds);
    const bool number =
        problem == std::errc() && end == retry_after->data() + retry_after->size() && seconds >= 0;
    if (number && std::chrono::seconds(seconds) > options_.max_retry_after) {
      return error(Code::kUnavailable, "{} asks to wait {} s: try again then", http::public_url(url),
                   seconds);
    }
    if (number) pause = std::max<std::chrono::milliseconds>(pause, std::chrono::seconds(seconds));
  }
  const auto until = Clock::now() + pause;
  while (Clock::now() < until) {
    if (is_set(options_.cancel)) return error(Code::kCancelled, "the pull was cancelled");
    std::this_thread::sleep_for(
        std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(50)));
  }
  return base::Ok{};
}

Result<std::string> Fetcher::get(const std::string& url) const {
  http::ClientOptions client = client_options(options_);
  client.max_bytes = std::size_t{16} << 20;
  for (int attempt = 0;; ++attempt) {
    auto response = http::get(url, headers_, client);
    if (response.ok() && response->status == 200) return std::move(response->body);
    const bool retry =
        response.ok() ? may_pass(response->status) : response.error().code == Code::kUnavailable;
    if (!retry || attempt + 1 >= options_.max_attempts) {
      return response.ok() ? refuse(url, response->status) : response.error();
    }
    TW_RETURN_IF_ERROR(wait_before(attempt, response.ok() ? response->header("Retry-After") : nullptr, url));
  }
}

Status Fetcher::download(const RemoteFile& file, const std::string& path) const {
  http::DownloadOptions download;
  download.client = client_options(options_);
  download.client.timeout = std::chrono::milliseconds(0);
  download.expected_size = file.size;
  Meter meter(options_, file.name);
  std::uint64_t done = 0;
  download.progress = [&](std::uint64_t bytes, std::uint64_t total) {
    done = bytes;
    meter(bytes, total);
  };
  std::uint64_t best = 0;
  for (int attempt = 0;; ++attempt) {
    meter.restart();
    const auto result = http::download(file.url, headers_, path, download);
    if (result.ok() && result->status / 100 == 2) return base::Ok{};
    const bool retry = result.ok() ? may_pass(result->status) : result.error().code == Code::kUnavailable;
    if (done > best) attempt = 0;  // it moves: patience begins anew
    best = std::max(best, done);
    if (!retry || attempt + 1 >= options_.max_attempts) {
      return result.ok() ? Status(refuse(file.url, result->status)) : Status(result.error());
    }
    TW_RETURN_IF_ERROR(wait_before(attempt, result.ok() ? result->header("Retry-After") : nullptr, file.url));
  }
}

Result<StoredFile> Fetcher::fetch(const RemoteFile& file, const std::string& folder) const {
  const std::string path = folder + "/" + file.name;
  std::error_code ec;
  if (!fs::exists(path, ec)) {
    const std::uint64_t there = fs::file_size(path + ".partial", ec);
    const std::uint64_t part = ec ? 0 : there;
    if (file.size && *file.size > part) TW_RETURN_IF_ERROR(check_disk(folder, *file.size - part, file.name));
    TW_RETURN_IF_ERROR(download(file, path));
  }
  return check_file(path, file.name, file.size, file.sha256, options_);
}

Result<bool> has_gguf_magic(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(path));
  constexpr std::string_view kMagic = "GGUF";
  return file.bytes().size() >= kMagic.size() &&
         std::memcmp(file.bytes().data(), kMagic.data(), kMagic.size()) == 0;
}

Result<StoredFile> check_file(const std::string& path, const std::string& name,
                              std::optional<std::uint64_t> size, const std::string& sha256,
                              const PullOptions& options) {
  StoredFile stored{name, 0, ""};
  std::error_code ec;
  stored.size = fs::file_size(path, ec);
  if (ec) return base::Error{Code::kIo, fmt::format("cannot be read: {}", ec.message()), path};
  const auto wrong = [&](std::string reason) {
    fs::remove(path, ec);
    return base::Error{Code::kCorrupt, std::move(reason), name};
  };
  if (size && stored.size != *size) {
    return wrong(
        fmt::format("has {} bytes where {} were expected; it was removed: pull again", stored.size, *size));
  }
  if (name.ends_with(".gguf")) {
    TW_ASSIGN_OR_RETURN(const bool gguf, has_gguf_magic(path));
    if (!gguf)
      return wrong("is no GGUF file (it does not begin with GGUF); it was removed: check the source");
  }
  if (options.progress) options.progress({PullProgress::Stage::kCheck, name, stored.size, stored.size, 0});
  TW_ASSIGN_OR_RETURN(stored.sha256, io::sha256_of_file(path, options.cancel));
  if (!sha256.empty() && stored.sha256 != sha256) {
    return wrong(fmt::format("has sha256 {} where {} was expected; it was removed: pull again", stored.sha256,
                             sha256));
  }
  return stored;
}

Status check_disk(const std::string& folder, std::uint64_t bytes, const std::string& name) {
  std::error_code ec;
  const fs::space_info space = fs::space(folder, ec);
  if (ec || space.available >= bytes) return base::Ok{};
  return error(Code::kResourceExhausted,
               "{} needs {:.1f} GB on the disk of {} where {:.1f} GB are free: make room", name,
               static_cast<double>(bytes) * 1e-9, folder, static_cast<double>(space.available) * 1e-9);
}

}  // namespace tw::hub
