#include "serve/key.h"

#include "serve/errors.h"

namespace tw::serve {
namespace {

bool is_open(const http::Request& request) {
  const std::string& path = request.path;
  return path == "/" || path.starts_with("/page/") || path == "/health" || path.starts_with("/v1/health/") ||
         path == "/ping" || request.method == "OPTIONS";
}

/// The key after "Bearer "; empty when there is none.
std::string_view given_key(const http::Request& request) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string* header = request.header("Authorization");
  if (header == nullptr || header->size() < kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = (*header)[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != kScheme[i]) return {};
  }
  return std::string_view(*header).substr(kScheme.size());
}

}  // namespace

bool equal_in_constant_time(std::string_view secret, std::string_view given) {
  unsigned difference = secret.size() == given.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char expected = secret.empty() ? '\0' : secret[i % secret.size()];
    difference |= static_cast<unsigned char>(expected ^ given[i]);
    // Keeps the compiler from leaving the loop once the answer is known.
    asm volatile("" : "+r"(difference));
  }
  return difference == 0;
}

std::optional<http::Response> check_key(std::string_view key, const http::Request& request) {
  if (key.empty() || is_open(request)) return std::nullopt;
  const std::string_view given = given_key(request);
  if (!given.empty() && equal_in_constant_time(key, given)) return std::nullopt;
  const std::string what = given.empty()
                               ? "this server needs an API key: send it as \"Authorization: Bearer KEY\""
                               : "the API key is not the one of this server";
  http::Response response = error_response({401, what, "authentication_error", {}, "invalid_api_key", 0});
  response.headers.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

}  // namespace tw::serve
