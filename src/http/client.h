// An HTTP client on libcurl: blocking calls, http and https only, limits on time and size.
// Certificates are always verified. Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as curl reads
// them. All functions are thread-safe and keep no state between calls.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/server.h"

namespace tw::http {

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{60'000};      ///< for the whole exchange; 0: none
  std::chrono::seconds stall_timeout{30};         ///< less than 1 byte/s for so long ends it; 0: never
  std::size_t max_bytes = std::size_t{64} << 20;  ///< of the answer's body, where it is kept in memory
  std::string ca_file{};  ///< PEM bundle to trust instead of the system's; empty: the system's
  int max_redirects = 5;  ///< 0: a redirect is returned as it is. https never leads to http
  const std::atomic<bool>* cancel = nullptr;  ///< looked at about once a second and with each piece of data
};

struct ClientResponse {
  int status = 0;
  std::vector<Header> headers;  ///< of the last answer, after redirects
  std::string body;
  std::string url;  ///< where the last redirect led
  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

/// Any HTTP status is a value. Errors: kInvalidArgument (address), kUnavailable (no connection, time-out, cut
/// off: trying again may help), kResourceExhausted (max_bytes), kCancelled, kIo (TLS, redirect loop, and the
/// rest). An Authorization header is not sent on to another host by a redirect.
base::Result<ClientResponse> get(const std::string& url, const std::vector<Header>& headers = {},
                                 const ClientOptions& options = {});
base::Result<ClientResponse> post(const std::string& url, const std::vector<Header>& headers,
                                  std::string_view body, const ClientOptions& options = {});

/// As post (or get, when `body` is absent), but a 2xx body goes to `on_chunk` piece by piece as it comes, and
/// is not limited by max_bytes. on_chunk returns false to end it: kCancelled.
base::Result<ClientResponse> stream(const std::string& url, const std::vector<Header>& headers,
                                    const std::optional<std::string>& body,
                                    const std::function<bool(std::string_view)>& on_chunk,
                                    const ClientOptions& options = {});

struct DownloadOptions {
  ClientOptions client{.timeout = std::chrono::milliseconds{0}};
  bool resume = true;
  std::optional<std::uint64_t> expected_size;                             ///< bytes
  std::uint64_t max_bytes = std::uint64_t{1} << 40;                       ///< more is refused
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  ///< bytes; total 0: not known
};

struct DownloadResult {
  int status = 0;  ///< 200 or 206: the file is there. Others: it is not, see body
  std::vector<Header> headers;
  std::uint64_t size = 0;          ///< bytes of the whole file
  std::uint64_t resumed_from = 0;  ///< bytes that were there from an earlier attempt
  std::string body;                ///< the start of an error's body, at most 16 KiB
  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

/// Downloads to `path`, by way of `path`.partial, which is kept when the connection breaks and continued by a
/// range request next time, if the file is known to be the same (ETag, Last-Modified, or expected_size). The
/// file at `path` is complete and on disk, or it is not there. One download of a path at a time: the caller
/// sees to it. Errors as get, and kCorrupt when the size is not expected_size (the partial file is then
/// removed).
base::Result<DownloadResult> download(const std::string& url, const std::vector<Header>& headers,
                                      const std::string& path, const DownloadOptions& options = {});

/// The address without user, password and query, which may hold secrets: for messages.
std::string public_url(std::string_view url);

}  // namespace tw::http
