#include "http/curl_request.h"

#include <algorithm>

#include "base/check.h"
#include "http/text.h"

namespace tw::http {
namespace {

using base::Code;

bool curl_is_ready() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

Code code_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Code::kInvalidArgument;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return Code::kUnavailable;
    case CURLE_ABORTED_BY_CALLBACK:
      return Code::kCancelled;
    default:
      return Code::kIo;
  }
}

std::string_view hint_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "give an http:// or https:// address";
    case CURLE_COULDNT_RESOLVE_HOST:
      return "check the address and the network";
    case CURLE_COULDNT_CONNECT:
      return "check that the server runs and the network reaches it";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate is not trusted; the CA bundle can be chosen";
    case CURLE_TOO_MANY_REDIRECTS:
      return "the server redirects in circles";
    default:
      return "try again";
  }
}

}  // namespace

std::string public_url(std::string_view url) {
  std::string shown(url.substr(0, url.find_first_of("?#")));
  const std::size_t scheme = shown.find("://");
  const std::size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t at = shown.substr(0, shown.find('/', host)).rfind('@');
  if (at != std::string::npos && at >= host) shown.erase(host, at + 1 - host);
  return shown;
}

CurlRequest::CurlRequest(const std::string& url, const ClientOptions& options)
    : url_(url), cancel_(options.cancel) {
  TW_CHECK(curl_is_ready(), "libcurl starts");
  handle_.reset(curl_easy_init());
  TW_CHECK(handle_ != nullptr, "libcurl makes a handle");
  CURL* h = handle_.get();
  curl_easy_setopt(h, CURLOPT_URL, url_.c_str());
  curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(h, CURLOPT_ERRORBUFFER, curl_message_);
  curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
  const bool secure = same_ignoring_case(std::string_view(url).substr(0, 6), "https:");
  curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(h, CURLOPT_USERAGENT, "tokenworks");
  curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, &CurlRequest::on_header);
  curl_easy_setopt(h, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, &CurlRequest::on_body);
  curl_easy_setopt(h, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, &CurlRequest::on_progress);
  curl_easy_setopt(h, CURLOPT_XFERINFODATA, this);
  set_limits(options);
}

void CurlRequest::set_limits(const ClientOptions& options) {
  CURL* h = handle_.get();
  curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout.count()));
  if (options.stall_timeout.count() > 0) {
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
  }
  curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, options.max_redirects > 0 ? 1L : 0L);
  curl_easy_setopt(h, CURLOPT_MAXREDIRS, static_cast<long>(options.max_redirects));
  if (!options.ca_file.empty()) curl_easy_setopt(h, CURLOPT_CAINFO, options.ca_file.c_str());
}

void CurlRequest::add_headers(const std::vector<Header>& headers) {
  for (const Header& header : headers) {
    std::string line;
    append_header(line, header.name, header.value);
    line.resize(line.size() - 2);
    curl_slist* list = curl_slist_append(header_list_.get(), line.c_str());
    TW_CHECK(list != nullptr, "libcurl copies a header");
    if (!header_list_) header_list_.reset(list);
  }
  curl_easy_setopt(handle_.get(), CURLOPT_HTTPHEADER, header_list_.get());
}

void CurlRequest::set_post(std::string_view body) {
  curl_easy_setopt(handle_.get(), CURLOPT_POST, 1L);
  curl_easy_setopt(handle_.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(handle_.get(), CURLOPT_COPYPOSTFIELDS, body.data());
}

bool CurlRequest::cancelled() const {
  return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
}

std::size_t CurlRequest::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  constexpr std::size_t kMaxHeaders = 512;
  auto& headers = static_cast<CurlRequest*>(self)->headers_;
  std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) headers.clear();  // the answer after a redirect
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos && headers.size() < kMaxHeaders) {
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' ')) {
      value.remove_suffix(1);
    }
    headers.push_back({std::string(line.substr(0, colon)), std::string(value)});
  }
  return line.size();
}

std::size_t CurlRequest::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& request = *static_cast<CurlRequest*>(self);
  if (request.cancelled()) return 0;
  const base::Status status = request.sink_(std::string_view(data, size * count));
  if (status.ok()) return size * count;
  request.sink_error_ = status.error();
  return 0;
}

int CurlRequest::on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<CurlRequest*>(self)->cancelled() ? 1 : 0;
}

base::Error CurlRequest::explain(CURLcode code) const {
  if (cancelled()) return base::error(Code::kCancelled, "the transfer of {} was cancelled", public_url(url_));
  const char* reason = curl_message_[0] != '\0' ? curl_message_ : curl_easy_strerror(code);
  return base::error(code_of(code), "cannot get {}: {}: {}", public_url(url_), reason, hint_of(code));
}

base::Status CurlRequest::perform() {
  const CURLcode code = curl_easy_perform(handle_.get());
  if (sink_error_) return *sink_error_;
  if (code != CURLE_OK) return explain(code);
  return base::Ok{};
}

int CurlRequest::status() const {
  long status = 0;
  curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

std::string CurlRequest::effective_url() const {
  const char* url = nullptr;
  curl_easy_getinfo(handle_.get(), CURLINFO_EFFECTIVE_URL, &url);
  return url != nullptr ? url : url_;
}

}  // namespace tw::http
