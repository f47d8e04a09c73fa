#include "http/listener.h"

#include <sys/socket.h>

#include <vector>

namespace tw::http {
namespace {

using base::Code;
using base::error;

/// Names may have several addresses: IPv4 first, since that is what clients of "localhost" try.
base::Result<std::vector<Tcp::endpoint>> resolve(asio::io_context& io, const std::string& host, int port) {
  error_code ec;
  Tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), Tcp::resolver::passive, ec);
  if (ec) return error(Code::kInvalidArgument, "cannot listen on '{}': {}: check --host", host, ec.message());
  std::vector<Tcp::endpoint> endpoints;
  for (const bool v4 : {true, false}) {
    for (const auto& entry : found) {
      if (entry.endpoint().address().is_v4() == v4) endpoints.push_back(entry.endpoint());
    }
  }
  return endpoints;
}

base::Error bind_error(const std::string& host, int port, const error_code& ec) {
  if (ec == asio::error::address_in_use) {
    return error(Code::kUnavailable, "{}:{} is in use: stop the other program or choose --port", host, port);
  }
  if (ec == asio::error::access_denied) {
    return error(Code::kInvalidArgument, "{}:{} needs more rights: choose a --port above 1023", host, port);
  }
  if (ec == boost::system::errc::address_not_available) {
    return error(Code::kInvalidArgument, "{} is no address of this machine: check --host", host);
  }
  return error(Code::kIo, "cannot listen on {}:{}: {}", host, port, ec.message());
}

}  // namespace

base::Result<Tcp::acceptor> listen_on(asio::io_context& io, const std::string& host, int port) {
  if (port < 0 || port > 65535)
    return error(Code::kInvalidArgument, "port {} is not within 0 to 65535", port);
  TW_ASSIGN_OR_RETURN(const auto endpoints, resolve(io, host, port));
  error_code ec;
  for (const Tcp::endpoint& endpoint : endpoints) {
    Tcp::acceptor acceptor(io);
    if (acceptor.open(endpoint.protocol(), ec); ec) continue;
    acceptor.set_option(Tcp::acceptor::reuse_address(true), ec);
    if (acceptor.bind(endpoint, ec); ec) continue;
    if (acceptor.listen(SOMAXCONN, ec); ec) continue;
    return acceptor;
  }
  return bind_error(host, port, ec);
}

}  // namespace tw::http
