// Resumable downloads: see download() in client.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/mmap.h"
#include "http/client.h"
#include "http/curl_request.h"

namespace tw::http {
namespace {

using base::Code;
using base::error;
using base::Status;

Status file_error(const std::string& path, const char* what) {
  return base::Error{Code::kIo, fmt::format("cannot {}: {}", what, std::strerror(errno)), path};
}

struct ContentRange {
  std::optional<std::uint64_t> first;  // absent in "bytes */TOTAL"
  std::optional<std::uint64_t> total;  // absent in "bytes 0-9/*"
};

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

ContentRange parse_content_range(const std::string* header) {
  constexpr std::string_view kUnit = "bytes ";
  ContentRange range;
  if (header == nullptr || !header->starts_with(kUnit)) return range;
  const std::string_view text = std::string_view(*header).substr(kUnit.size());
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return range;
  range.first = parse_number(text.substr(0, text.find('-')));
  range.total = parse_number(text.substr(slash + 1));
  return range;
}

/// What If-Range can send: a strong ETag, or else the date.
std::string validator_of(const CurlRequest& request) {
  if (const std::string* tag = request.header("ETag"); tag != nullptr && tag->starts_with('"')) return *tag;
  const std::string* date = request.header("Last-Modified");
  return date != nullptr ? *date : "";
}

/// The .partial file, with the validator of what it is a part of beside it.
class Partial {
 public:
  explicit Partial(const std::string& path)
      : path_(path), partial_(path + ".partial"), validator_path_(path + ".partial.id") {}
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() {
    if (fd_ >= 0) ::close(fd_);
  }

  Status open() {
    fd_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct stat info{};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) return file_error(partial_, "open");
    size_ = static_cast<std::uint64_t>(info.st_size);
    return base::Ok{};
  }

  std::uint64_t size() const { return size_; }

  std::string validator() const {
    auto text = base::read_file(validator_path_, 1024);
    return text.ok() ? std::move(*text) : std::string();
  }

  Status remember(const std::string& validator) {
    if (!validator.empty()) return base::write_file_atomically(validator_path_, validator);
    ::unlink(validator_path_.c_str());
    return base::Ok{};
  }

  Status truncate() {
    if (::ftruncate(fd_, 0) != 0) return file_error(partial_, "empty");
    size_ = 0;
    return base::Ok{};
  }

  Status append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return file_error(partial_, "write (the part that is there is kept)");
      bytes.remove_prefix(static_cast<std::size_t>(n));
      size_ += static_cast<std::uint64_t>(n);
    }
    return base::Ok{};
  }

  void remove() {
    ::unlink(partial_.c_str());
    ::unlink(validator_path_.c_str());
  }

  Status finish() {
    if (::fsync(fd_) != 0) return file_error(partial_, "sync");
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) return file_error(path_, "rename into place");
    ::unlink(validator_path_.c_str());
    return base::Ok{};
  }

 private:
  const std::string path_, partial_, validator_path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

class Download {
 public:
  Download(const std::string& url, const std::vector<Header>& headers, const std::string& path,
           const DownloadOptions& options)
      : url_(url), headers_(headers), options_(options), file_(path) {}

  base::Result<DownloadResult> run();

 private:
  enum class Outcome { kDone, kRestart };

  base::Result<Outcome> attempt();
  Status begin_body(const CurlRequest& request);
  Status receive(const CurlRequest& request, std::string_view bytes);
  base::Result<Outcome> judge(const CurlRequest& request);
  Status check_size();

  const std::string& url_;
  const std::vector<Header>& headers_;
  const DownloadOptions& options_;
  Partial file_;
  std::uint64_t total_ = 0;  // of the whole file; 0: not known
  bool in_body_ = false;
  bool restart_ = false;
  DownloadResult result_;
};

/// Called with the first bytes of the body, when status and headers are known.
Status Download::begin_body(const CurlRequest& request) {
  in_body_ = true;
  const int status = request.status();
  if (status != 200 && status != 206) return base::Ok{};
  if (status == 206) {
    const ContentRange range = parse_content_range(request.header("Content-Range"));
    const bool fits = range.first == file_.size() &&
                      (!range.total || !options_.expected_size || *range.total == *options_.expected_size);
    if (!fits) {
      restart_ = true;
      return error(Code::kCorrupt, "{} sent another range than asked for", public_url(url_));
    }
    result_.resumed_from = file_.size();
    total_ = range.total.value_or(0);
  } else {
    TW_RETURN_IF_ERROR(file_.truncate());
    const std::string* length = request.header("Content-Length");
    total_ = length != nullptr ? parse_number(*length).value_or(0) : 0;
  }
  if (options_.expected_size) total_ = *options_.expected_size;
  return file_.remember(validator_of(request));
}

Status Download::receive(const CurlRequest& request, std::string_view bytes) {
  constexpr std::size_t kErrorBody = std::size_t{16} << 10;
  if (!in_body_) TW_RETURN_IF_ERROR(begin_body(request));
  if (request.status() != 200 && request.status() != 206) {
    result_.body += bytes.substr(0, kErrorBody - std::min(kErrorBody, result_.body.size()));
    return base::Ok{};
  }
  const std::uint64_t limit =
      std::min(options_.max_bytes, options_.expected_size.value_or(options_.max_bytes));
  if (file_.size() > limit || bytes.size() > limit - file_.size()) {
    file_.remove();
    return error(Code::kCorrupt,
                 "{} is larger than the {} bytes expected: the file changed or the address is wrong",
                 public_url(url_), limit);
  }
  TW_RETURN_IF_ERROR(file_.append(bytes));
  if (options_.progress) options_.progress(file_.size(), total_);
  return base::Ok{};
}

base::Result<Download::Outcome> Download::attempt() {
  in_body_ = restart_ = false;
  result_ = {};
  CurlRequest request(url_, options_.client);
  std::vector<Header> headers = headers_;
  const std::string validator = file_.validator();
  const bool resume = options_.resume && file_.size() > 0 && (!validator.empty() || options_.expected_size);
  if (!resume) TW_RETURN_IF_ERROR(file_.truncate());
  if (resume) headers.push_back({"Range", fmt::format("bytes={}-", file_.size())});
  if (resume && !validator.empty()) headers.push_back({"If-Range", validator});
  request.add_headers(headers);
  request.set_sink([&](std::string_view bytes) { return receive(request, bytes); });
  const Status status = request.perform();
  if (restart_) return Outcome::kRestart;
  TW_RETURN_IF_ERROR(status);
  return judge(request);
}

base::Result<Download::Outcome> Download::judge(const CurlRequest& request) {
  const int status = request.status();
  result_.status = status;
  result_.headers = request.headers();
  if (status == 416 && file_.size() > 0) {
    const ContentRange range = parse_content_range(request.header("Content-Range"));
    if (range.total != file_.size()) return Outcome::kRestart;
    result_.status = 206;
    result_.resumed_from = file_.size();
  }
  if (status == 200 && !in_body_) TW_RETURN_IF_ERROR(file_.truncate());  // an empty file
  if (status == 206 && !in_body_) return Outcome::kRestart;
  return Outcome::kDone;
}

Status Download::check_size() {
  if (!options_.expected_size || file_.size() == *options_.expected_size) return base::Ok{};
  file_.remove();
  return error(Code::kCorrupt,
               "{} has {} bytes where {} were expected: the file changed or the address is wrong",
               public_url(url_), file_.size(), *options_.expected_size);
}

base::Result<DownloadResult> Download::run() {
  TW_RETURN_IF_ERROR(file_.open());
  if (options_.expected_size && file_.size() > *options_.expected_size) TW_RETURN_IF_ERROR(file_.truncate());
  if (options_.resume && options_.expected_size && file_.size() == *options_.expected_size &&
      file_.size() > 0) {
    result_.status = 206;
    result_.resumed_from = file_.size();
  } else {
    TW_ASSIGN_OR_RETURN(Outcome outcome, attempt());
    if (outcome == Outcome::kRestart) {
      TW_RETURN_IF_ERROR(file_.truncate());
      TW_ASSIGN_OR_RETURN(outcome, attempt());
      if (outcome == Outcome::kRestart) {
        return error(Code::kCorrupt, "{} answers range requests wrongly", public_url(url_));
      }
    }
  }
  if (result_.status != 200 && result_.status != 206) return result_;
  TW_RETURN_IF_ERROR(check_size());
  TW_RETURN_IF_ERROR(file_.finish());
  result_.size = file_.size();
  return result_;
}

}  // namespace

base::Result<DownloadResult> download(const std::string& url, const std::vector<Header>& headers,
                                      const std::string& path, const DownloadOptions& options) {
  return Download(url, headers, path, options).run();
}

}  // namespace tw::http
