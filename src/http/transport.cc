#include "http/transport.h"

#include <netinet/tcp.h>
#include <unistd.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstring>

namespace tw::http {
namespace {

namespace ssl = asio::ssl;

/// The state that the kernel holds for the connection: a FIN or RST shows here even while unread bytes wait.
bool peer_has_closed(Tcp::socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
  return info.tcpi_state != TCP_ESTABLISHED;
}

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(Tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<error_code> handshake() override { co_return error_code(); }

  asio::awaitable<std::size_t> read_some(char* data, std::size_t size) override {
    error_code ec;
    const auto buffer = asio::buffer(data, size);
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const std::size_t n = co_await socket_.async_read_some(buffer, token);
    co_return ec ? 0 : n;
  }

  void write(const char* data, std::size_t size, std::function<void(bool)> done) override {
    asio::async_write(socket_, asio::buffer(data, size),
                      [done = std::move(done)](error_code ec, std::size_t) { done(!ec); });
  }

  void shutdown_send() override {
    error_code ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
  }

  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }

  bool peer_closed() override { return peer_has_closed(socket_); }

 private:
  Tcp::socket socket_;
};

class TlsTransport : public Transport {
 public:
  TlsTransport(Tcp::socket socket, ssl::context& context)
      : stream_(std::make_shared<ssl::stream<Tcp::socket>>(std::move(socket), context)) {}

  asio::awaitable<error_code> handshake() override {
    error_code ec;
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    co_await stream_->async_handshake(ssl::stream_base::server, token);
    co_return ec;
  }

  asio::awaitable<std::size_t> read_some(char* data, std::size_t size) override {
    error_code ec;
    const auto buffer = asio::buffer(data, size);
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    const std::size_t n = co_await stream_->async_read_some(buffer, token);
    co_return ec ? 0 : n;
  }

  void write(const char* data, std::size_t size, std::function<void(bool)> done) override {
    asio::async_write(*stream_, asio::buffer(data, size),
                      [done = std::move(done)](error_code ec, std::size_t) { done(!ec); });
  }

  void shutdown_send() override {
    stream_->async_shutdown([stream = stream_](error_code) {
      error_code ignored;
      stream->next_layer().shutdown(Tcp::socket::shutdown_send, ignored);
    });
  }

  void close() override {
    error_code ignored;
    stream_->next_layer().close(ignored);
  }

  bool peer_closed() override { return peer_has_closed(stream_->next_layer()); }

 private:
  std::shared_ptr<ssl::stream<Tcp::socket>> stream_;  // shared with a shutdown under way
};

}  // namespace

struct TlsAcceptor::Context {
  ssl::context ssl{ssl::context::tls_server};
};

TlsAcceptor::TlsAcceptor(std::unique_ptr<Context> context) : context_(std::move(context)) {}
TlsAcceptor::~TlsAcceptor() = default;

base::Result<std::unique_ptr<TlsAcceptor>> TlsAcceptor::create(const std::string& cert,
                                                               const std::string& key) {
  auto context = std::make_unique<Context>();
  error_code ec;
  const auto failed = [&](const std::string& path, const char* what) {
    // OpenSSL has no words for what the system says, such as a file that is not there.
    const std::string reason = ::access(path.c_str(), R_OK) != 0 ? std::strerror(errno) : ec.message();
    return base::Error{base::Code::kInvalidArgument, fmt::format("cannot be used as {}: {}", what, reason),
                       path};
  };
  SSL_CTX_set_min_proto_version(context->ssl.native_handle(), TLS1_2_VERSION);
  context->ssl.use_certificate_chain_file(cert, ec);
  if (ec) return failed(cert, "the TLS certificate (PEM)");
  context->ssl.use_private_key_file(key, ssl::context::pem, ec);
  if (ec) return failed(key, "the private key (PEM) of that TLS certificate");
  return std::unique_ptr<TlsAcceptor>(new TlsAcceptor(std::move(context)));
}

std::unique_ptr<Transport> TlsAcceptor::accept(Tcp::socket socket) {
  return std::make_unique<TlsTransport>(std::move(socket), context_->ssl);
}

std::unique_ptr<Transport> make_plain_transport(Tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

}  // namespace tw::http
