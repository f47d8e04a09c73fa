// Parsing of one HTTP/1.x request from bytes. Boost.Beast parses the header, and stays inside message.cc.
// Internal to src/http.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "http/server.h"

namespace tw::http {

/// An incremental parser of one request. It keeps nothing of the bytes that it did not consume: feed those
/// again together with what follows them. After an error the connection cannot be used further.
class RequestParser {
 public:
  RequestParser(std::size_t max_header_bytes, std::size_t max_body_bytes);
  ~RequestParser();

  /// Takes bytes until the end of the header (the first time), and then until the end of the request.
  /// Returns how many bytes it consumed.
  std::size_t feed(std::string_view bytes);

  bool header_done() const;
  bool done() const;
  /// 0, or the status to answer with (400, 413, 431, 501, 505), with error_message().
  int error_status() const { return error_status_; }
  const std::string& error_message() const { return error_message_; }

  // Valid once header_done().
  bool has_body() const;  ///< a Content-Length above 0, or chunks
  bool keep_alive() const;
  bool http10() const;
  bool expects_continue() const;

  /// Filled up to where parsing came.
  Request& request();

 private:
  class Impl;
  void feed_header(std::string_view& bytes);
  void check_header();
  void begin_body();
  void feed_body(std::string_view& bytes);
  void fail(int status, std::string message);
  const std::size_t max_header_bytes_;
  const std::size_t max_body_bytes_;
  std::unique_ptr<Impl> impl_;
  int error_status_ = 0;
  std::string error_message_;
};

}  // namespace tw::http
