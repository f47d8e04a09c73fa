#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/none.hpp>
#include <cstdint>
#include <optional>

#include "http/chunked.h"
#include "http/text.h"

namespace tw::http {
namespace {

namespace beast_http = boost::beast::http;
using boost::beast::string_view;
using BeastError = boost::beast::error_code;
constexpr std::size_t kMaxHeaders = 256;
constexpr const char* kBodyTooLarge = "the request's body is larger than this server accepts";

std::string to_string(string_view text) {
  return std::string(text.data(), text.size());
}

}  // namespace

class RequestParser::Impl : public beast_http::basic_parser<true> {
 public:
  Request request;
  std::string target;
  int version = 11;
  std::uint64_t body_left = 0;           // by Content-Length
  std::optional<ChunkedDecoder> chunks;  // or by chunks
  bool done = false;

 private:
  void on_request_impl(beast_http::verb, string_view method, string_view path, int v, BeastError&) override {
    request.method = to_string(method);
    target = to_string(path);
    version = v;
  }
  void on_response_impl(int, string_view, int, BeastError&) override {}
  void on_field_impl(beast_http::field, string_view name, string_view value, BeastError& ec) override {
    if (request.headers.size() >= kMaxHeaders)
      ec = beast_http::error::header_limit;
    else
      request.headers.push_back({to_string(name), to_string(value)});
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, BeastError&) override {}
  // Beast ends at the header (skip): these are never called.
  std::size_t on_body_impl(string_view bytes, BeastError&) override { return bytes.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view bytes, BeastError&) override {
    return bytes.size();
  }
  void on_finish_impl(BeastError&) override {}
};

RequestParser::RequestParser(std::size_t max_header_bytes, std::size_t max_body_bytes)
    : max_header_bytes_(max_header_bytes), max_body_bytes_(max_body_bytes), impl_(std::make_unique<Impl>()) {
  impl_->header_limit(static_cast<std::uint32_t>(std::min<std::size_t>(max_header_bytes, UINT32_MAX)));
  impl_->body_limit(boost::none);
  impl_->skip(true);
}

RequestParser::~RequestParser() = default;

bool RequestParser::header_done() const {
  return impl_->is_header_done() && error_status_ == 0;
}
bool RequestParser::done() const {
  return impl_->done && error_status_ == 0;
}
Request& RequestParser::request() {
  return impl_->request;
}
bool RequestParser::http10() const {
  return impl_->version < 11;
}
bool RequestParser::keep_alive() const {
  return impl_->keep_alive();
}

bool RequestParser::has_body() const {
  return impl_->chunks || impl_->content_length().value_or(0) > 0;
}

bool RequestParser::expects_continue() const {
  const std::string* expect = impl_->request.header("Expect");
  return expect != nullptr && same_ignoring_case(*expect, "100-continue") && !http10();
}

void RequestParser::fail(int status, std::string message) {
  error_status_ = status;
  error_message_ = std::move(message);
}

namespace {

std::pair<int, std::string> explain(const BeastError& ec) {
  using beast_http::error;
  if (ec == error::header_limit)
    return {431, "the request's headers are too large: send fewer or shorter ones"};
  if (ec == error::bad_version) return {505, "this server speaks HTTP/1.0 and HTTP/1.1"};
  return {400, fmt::format("malformed HTTP request: {}", ec.message())};
}

}  // namespace

std::size_t RequestParser::feed(std::string_view bytes) {
  if (error_status_ != 0 || impl_->done) return 0;
  std::string_view rest = bytes;
  if (impl_->is_header_done())
    feed_body(rest);
  else
    feed_header(rest);
  return bytes.size() - rest.size();
}

void RequestParser::feed_header(std::string_view& bytes) {
  // RFC 9112, 2.2: empty lines before a request are skipped.
  while (!impl_->got_some() && bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  if (bytes.empty() || (!impl_->got_some() && bytes == "\r")) return;
  BeastError ec;
  for (std::size_t n = 1; n > 0 && !ec && !impl_->is_header_done() && !bytes.empty();) {
    n = impl_->put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
    bytes.remove_prefix(n);
  }
  if (ec == beast_http::error::need_more) return;
  if (ec) {
    auto [status, message] = explain(ec);
    fail(status, std::move(message));
  } else if (impl_->is_header_done()) {
    check_header();
    if (error_status_ == 0) begin_body();
  }
}

void RequestParser::begin_body() {
  if (impl_->chunked()) {
    impl_->chunks.emplace(max_body_bytes_, max_header_bytes_);
    return;
  }
  impl_->body_left = impl_->content_length().value_or(0);
  impl_->done = impl_->body_left == 0;
  if (impl_->body_left > max_body_bytes_) fail(413, kBodyTooLarge);
}

void RequestParser::feed_body(std::string_view& bytes) {
  std::string& body = impl_->request.body;
  if (impl_->chunks) {
    const ChunkedDecoder::Status status = impl_->chunks->feed(bytes, body);
    if (status == ChunkedDecoder::Status::kMalformed) fail(400, "malformed HTTP request: bad chunk");
    if (status == ChunkedDecoder::Status::kBodyTooLarge) fail(413, kBodyTooLarge);
    impl_->done = status == ChunkedDecoder::Status::kDone;
    return;
  }
  const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(impl_->body_left, bytes.size()));
  body.append(bytes.substr(0, n));
  bytes.remove_prefix(n);
  impl_->body_left -= n;
  impl_->done = impl_->body_left == 0;
}

/// What the grammar allows but this server must not: no Host, hidden lengths, escapes it cannot decode.
void RequestParser::check_header() {
  Request& request = impl_->request;
  const auto count = [&](std::string_view name) {
    return std::count_if(request.headers.begin(), request.headers.end(),
                         [&](const Header& h) { return same_ignoring_case(h.name, name); });
  };
  if (impl_->version != 10 && impl_->version != 11)
    return fail(505, "this server speaks HTTP/1.0 and HTTP/1.1");
  if (count("Host") > 1 || (!http10() && count("Host") == 0))
    return fail(400, "exactly one Host header is needed");
  // RFC 9112, 6.1: both at once is how requests are smuggled past proxies.
  const bool encoded = count("Transfer-Encoding") > 0;
  if (encoded && count("Content-Length") > 0) {
    return fail(400, "Transfer-Encoding and Content-Length exclude each other");
  }
  if (encoded && !impl_->chunked()) return fail(501, "the only transfer encoding known here is chunked");
  if (!split_target(impl_->target, request.path, request.query)) {
    return fail(400, "the request's address is malformed: it must be a path with valid percent escapes");
  }
}

}  // namespace tw::http
