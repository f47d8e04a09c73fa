#include "serve/host_check.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "serve/errors.h"

namespace tw::serve {
namespace {

/// Without the port, the brackets, the dot that may end a full name, and upper case.
std::string name_of(std::string_view host) {
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string name(host);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return name;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  return ::inet_pton(AF_INET, name.c_str(), ignored.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), ignored.data()) == 1;
}

}  // namespace

HostCheck::HostCheck(const std::vector<std::string>& allowed) {
  std::array<char, 256> machine{};
  if (::gethostname(machine.data(), machine.size() - 1) == 0) names_.push_back(name_of(machine.data()));
  for (const std::string& name : allowed) names_.push_back(name_of(name));
}

bool HostCheck::knows(std::string_view host) const {
  const std::string name = name_of(host);
  return host.empty() || is_address(name) || name == "localhost" || name.ends_with(".localhost") ||
         std::ranges::find(names_, name) != names_.end();
}

std::optional<http::Response> HostCheck::check(const http::Request& request) const {
  const std::string* header = request.header("Host");
  if (header == nullptr || knows(*header)) return std::nullopt;
  constexpr std::size_t kShown = 120;
  const std::string name = base::sanitize_utf8(name_of(*header)).substr(0, kShown);
  return error_response(
      {403,
       fmt::format("this server is for its own machine and is not known as '{}': if it should be, start it "
                   "with --allow-host {}",
                   name, name),
       "invalid_request_error",
       {},
       "host_not_allowed",
       0});
}

}  // namespace tw::serve
