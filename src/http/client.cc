#include "http/client.h"

#include "http/curl_request.h"

namespace tw::http {
namespace {

using base::Code;

base::Status append_within(std::string& body, std::string_view bytes, std::size_t limit,
                           const std::string& url) {
  if (bytes.size() > limit - body.size()) {
    return base::error(Code::kResourceExhausted, "the answer of {} is larger than the limit of {} bytes",
                       public_url(url), limit);
  }
  body += bytes;
  return base::Ok{};
}

/// `body` is filled by the request's sink.
base::Result<ClientResponse> run(CurlRequest& request, std::string& body) {
  TW_RETURN_IF_ERROR(request.perform());
  ClientResponse response;
  response.status = request.status();
  response.headers = request.headers();
  response.url = request.effective_url();
  response.body = std::move(body);
  return response;
}

base::Result<ClientResponse> collect(CurlRequest& request, const std::string& url,
                                     const ClientOptions& options) {
  std::string body;
  request.set_sink(
      [&](std::string_view bytes) { return append_within(body, bytes, options.max_bytes, url); });
  return run(request, body);
}

}  // namespace

base::Result<ClientResponse> get(const std::string& url, const std::vector<Header>& headers,
                                 const ClientOptions& options) {
  CurlRequest request(url, options);
  request.add_headers(headers);
  return collect(request, url, options);
}

base::Result<ClientResponse> post(const std::string& url, const std::vector<Header>& headers,
                                  std::string_view body, const ClientOptions& options) {
  CurlRequest request(url, options);
  request.add_headers(headers);
  request.set_post(body);
  return collect(request, url, options);
}

base::Result<ClientResponse> stream(const std::string& url, const std::vector<Header>& headers,
                                    const std::optional<std::string>& body,
                                    const std::function<bool(std::string_view)>& on_chunk,
                                    const ClientOptions& options) {
  CurlRequest request(url, options);
  request.add_headers(headers);
  if (body) request.set_post(*body);
  std::string error_body;
  request.set_sink([&](std::string_view bytes) -> base::Status {
    if (request.status() / 100 != 2) return append_within(error_body, bytes, options.max_bytes, url);
    if (on_chunk(bytes)) return base::Ok{};
    return base::error(Code::kCancelled, "the stream of {} was ended by its reader", public_url(url));
  });
  return run(request, error_body);
}

}  // namespace tw::http
