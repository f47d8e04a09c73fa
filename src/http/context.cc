#include "http/context.h"

#include <fmt/format.h>

#include <random>

#include "base/mix64.h"
#include "http/text.h"

namespace tw::http {

ServerContext::ServerContext() {
  std::random_device random;
  next_id = (std::uint64_t{random()} << 32) | random();
}

/// A counter from a random start, its bits mixed one to one.
std::string ServerContext::make_request_id() {
  return fmt::format("{:016x}", base::mix64(next_id.fetch_add(base::kMixStep)));
}

Response ServerContext::error_response(int status, std::string_view message) const {
  Response response;
  response.status = status;
  if (error_body) {
    response.body = error_body(status, message);
  } else {
    response.content_type = "text/plain; charset=utf-8";
    response.body = fmt::format("{}\n", message);
  }
  return response;
}

std::string ServerContext::allowed_origin(const Request& request) const {
  if (options.cors_origin.empty()) return {};
  const std::string* origin = request.header("Origin");
  for (const std::string_view allowed : split_list(options.cors_origin)) {
    if (allowed == "*") return "*";
    if (origin != nullptr && allowed == *origin) return *origin;
  }
  return {};
}

}  // namespace tw::http
