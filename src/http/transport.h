// A connected byte stream, plain or TLS. Internal to src/http; used on the I/O thread alone.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "http/asio.h"

namespace tw::http {

class Transport {
 public:
  virtual ~Transport() = default;

  /// One read and one write may be pending at the same time; close() ends both with an error.
  virtual asio::awaitable<error_code> handshake() = 0;
  /// Returns the bytes read; 0 when the peer has ended its side or the stream broke.
  virtual asio::awaitable<std::size_t> read_some(char* data, std::size_t size) = 0;
  /// Writes all of it. The bytes must stay until `done` is called.
  virtual void write(const char* data, std::size_t size, std::function<void(bool ok)> done) = 0;
  /// Tells the peer that nothing more will come; reading goes on.
  virtual void shutdown_send() = 0;
  virtual void close() = 0;
  /// Asks the kernel whether the peer has closed or reset, without reading.
  virtual bool peer_closed() = 0;
};

std::unique_ptr<Transport> make_plain_transport(Tcp::socket socket);

/// The server's certificate and key; makes one transport per connection.
class TlsAcceptor {
 public:
  /// Fails with kInvalidArgument, naming the file that cannot be used.
  static base::Result<std::unique_ptr<TlsAcceptor>> create(const std::string& cert, const std::string& key);
  ~TlsAcceptor();
  std::unique_ptr<Transport> accept(Tcp::socket socket);

 private:
  struct Context;
  explicit TlsAcceptor(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace tw::http
