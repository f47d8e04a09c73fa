// Finding and binding the address of a server. Internal to src/http.
#pragma once

#include <string>

#include "base/result.h"
#include "http/asio.h"

namespace tw::http {

/// Binds and listens. The errors are one clear line for the person who started the program.
base::Result<Tcp::acceptor> listen_on(asio::io_context& io, const std::string& host, int port);

}  // namespace tw::http
