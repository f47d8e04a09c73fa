// One transfer by libcurl. Internal to src/http.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/client.h"

namespace tw::http {

class CurlRequest {
 public:
  CurlRequest(const std::string& url, const ClientOptions& options);
  CurlRequest(const CurlRequest&) = delete;
  CurlRequest& operator=(const CurlRequest&) = delete;

  void add_headers(const std::vector<Header>& headers);
  void set_post(std::string_view body);
  /// Receives the body of the last answer; an error ends the transfer and is what perform() returns.
  void set_sink(std::function<base::Status(std::string_view)> sink) { sink_ = std::move(sink); }

  base::Status perform();

  // From within the sink, or after perform().
  int status() const;
  std::string effective_url() const;
  const std::vector<Header>& headers() const { return headers_; }
  const std::string* header(std::string_view name) const { return find_header(headers_, name); }

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
  void set_limits(const ClientOptions& options);
  bool cancelled() const;
  base::Error explain(CURLcode code) const;

  struct FreeHandle {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  std::unique_ptr<CURL, FreeHandle> handle_;
  std::unique_ptr<curl_slist, FreeList> header_list_;
  const std::string url_;
  const std::atomic<bool>* const cancel_;
  std::function<base::Status(std::string_view)> sink_;
  std::vector<Header> headers_;
  std::optional<base::Error> sink_error_;
  char curl_message_[CURL_ERROR_SIZE] = "";
};

}  // namespace tw::http
