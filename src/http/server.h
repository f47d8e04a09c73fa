// An HTTP/1.1 server: one I/O thread, which parses, routes and writes; the answers come from any thread.
//
// Threads: handlers, filters, observers and cancel callbacks run on the I/O thread and must not block.
// Every method of Exchange may be called from any thread. The set-up methods of Server (route, set_*) are for
// the time before start(); begin_drain, wait_idle and stop may be called from any thread but the I/O
// thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::http {

struct Header {
  std::string name, value;
};

/// The first header of that name (case does not matter), or nullptr.
const std::string* find_header(const std::vector<Header>& headers, std::string_view name);

struct Request {
  std::string method;  ///< as sent; HEAD stays HEAD although the GET handler answers it
  std::string path;    ///< percent-decoded, without the query
  std::string query;   ///< raw, without the '?'
  std::vector<Header> headers;
  std::string body;    ///< decoded from chunks; empty in the filter, which runs before the body is read
  std::string remote;  ///< "address:port" of the client
  std::string id;      ///< X-Request-Id: the client's if it is at most 128 of [A-Za-z0-9._-], else made here

  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";  ///< empty: no Content-Type header
  std::string body{};
  std::vector<Header> headers{};  ///< more headers; CR, LF and NUL in them are replaced by spaces
};

class ExchangeCore;

/// One request in flight. The answer is either respond() or begin_stream(), write()..., end_stream().
/// All methods are thread-safe and none blocks. An exchange that is dropped without an answer is answered
/// with 500; a stream that is dropped without end_stream() is cut off, so that the client sees it is
/// incomplete.
class Exchange {
 public:
  explicit Exchange(std::shared_ptr<ExchangeCore> core);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  const Request& request() const;

  /// The whole answer. REQUIRES: neither respond nor begin_stream was called. Does nothing once cancelled.
  void respond(const Response& response);

  /// Starts an answer of unknown length (chunked; for HTTP/1.0 the end of the connection ends it).
  void begin_stream(int status, const std::string& content_type, const std::vector<Header>& headers = {});
  /// Queues bytes of the stream. False once the client is gone, or when its unsent backlog passed
  /// ServerOptions::max_backlog: then the exchange is cancelled and the connection closed.
  bool write(const std::string& chunk);
  void end_stream();

  /// `callback` runs once, on the I/O thread, if the client disconnects (or stops reading, or the server
  /// stops) before the answer is complete; soon, if that has happened already. It is dropped when the answer
  /// is complete, so it may own what it needs. A client that shuts down its sending side counts as gone.
  void on_cancel(std::function<void()> callback);
  bool cancelled() const;

 private:
  std::shared_ptr<ExchangeCore> core_;
};

using Handler = std::function<void(std::shared_ptr<Exchange>)>;
using ErrorBody = std::function<std::string(int status, std::string_view message)>;
using Filter = std::function<std::optional<Response>(const Request&)>;
using Observer = std::function<void(const Request&, int status, std::size_t request_bytes,
                                    std::size_t response_bytes, double seconds)>;

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< address or name to listen on; "0.0.0.0" or "::" for every interface
  int port = 8080;                 ///< 0: any free one, see Server::port()
  std::string tls_cert,
      tls_key;  ///< PEM files (certificate chain, private key): both or none. TLS 1.2 and up
  std::size_t max_body_bytes = std::size_t{8} << 20;     ///< past it: 413
  std::size_t max_header_bytes = std::size_t{16} << 10;  ///< request line and headers; past it: 431
  /// Past it, one that is idle or still sending its request is closed (see README.md);
  /// when all wait for answers, a new one gets 503.
  int max_connections = 1024;
  std::chrono::seconds header_timeout{10};  ///< from the first byte to the last of the header; past it: 408
  std::chrono::seconds body_timeout{30};    ///< for the whole body; past it: 408
  std::chrono::seconds idle_timeout{60};    ///< between two requests of a connection
  std::chrono::seconds write_timeout{30};   ///< for each 64 KiB of an answer; past it the client is cut off
  std::size_t max_backlog = std::size_t{4} << 20;  ///< unsent bytes of one stream
  std::string cors_origin;  ///< origins that pages may call from, separated by commas, or "*"; empty: off
  std::string server_name;  ///< the Server header; empty: none
};

class Server {
 public:
  /// Binds at once. Fails with kUnavailable when the port is in use, kInvalidArgument for a host or a
  /// certificate that cannot be used.
  static base::Result<std::unique_ptr<Server>> create(ServerOptions options);
  ~Server();

  /// `path` is exact, or a prefix when it ends in "/*" (the longest prefix wins). An unknown path gets 404, a
  /// known one with another method 405 and Allow. GET serves HEAD too. OPTIONS is answered only when CORS is
  /// on.
  void route(std::string method, std::string path, Handler handler);

  /// Makes the JSON body of errors found here (400, 404, 405, 408, 413, 431, 500, 503).
  void set_error_body(ErrorBody error_body);
  /// Runs after the header was read and before the body: a Response ends the request (API keys).
  void set_before(Filter filter);
  /// Called when an exchange ends. status 499: the client left before any answer began.
  void set_observer(Observer observer);

  void start();
  int port() const;
  /// The address to show: "http://127.0.0.1:8080".
  std::string url() const;

  /// No other machine can reach it.
  bool loopback_only() const;

  /// From now on every answer says "Connection: close". New connections are still taken, so that a balancer's
  /// probe and a late client get an answer (a 503, say) until stop().
  void begin_drain();
  /// True when no exchange is in flight; waits for that as long as the timeout.
  bool wait_idle(std::chrono::milliseconds timeout);
  /// Closes every connection (exchanges in flight are cancelled) and ends the I/O thread. Idempotent.
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw::http
