#include "http/context.h"

#include <fmt/format.h>

#include "http/text.h"

namespace tw::http {

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
