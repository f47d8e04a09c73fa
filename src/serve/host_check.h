// Against DNS rebinding: a web page whose name was made to point at this machine could read the answers of a
// server that trusts everyone on it. The browser still sends the page's name, in the Host header.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace tw::serve {

/// The names by which a server on loopback may be called. Immutable.
class HostCheck {
 public:
  /// `allowed`: names besides IP addresses, localhost, *.localhost and the machine's own name.
  explicit HostCheck(const std::vector<std::string>& allowed);

  /// `host` as the header has it, with or without a port. An empty one is fine: browsers always send theirs.
  bool knows(std::string_view host) const;
  /// A 403 that names the host and the flag, or nothing when the request may pass.
  std::optional<http::Response> check(const http::Request& request) const;

 private:
  std::vector<std::string> names_;
};

}  // namespace tw::serve
