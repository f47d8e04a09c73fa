// The API key. Internal to src/serve.
#pragma once

#include <optional>
#include <string>

#include "http/server.h"

namespace tw::serve {

/// nullopt: the request may go on. Else a 401 in OpenAI's shape. Without a key every request may; with one,
/// all but the page ("/", "/page/..."), /health, /v1/health/... and /ping need "Authorization: Bearer KEY".
std::optional<http::Response> check_key(std::string_view key, const http::Request& request);

/// Compares in a time that depends on the length of `given` alone.
bool equal_in_constant_time(std::string_view secret, std::string_view given);

}  // namespace tw::serve
