// Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}} and the status that
// goes with it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/server.h"

namespace tw::serve {

struct ApiError {
  int status = 400;
  std::string message;  ///< one sentence: the thing, the reason, the next step
  std::string type;     ///< "invalid_request_error", "server_error", ...
  std::string param;    ///< the request's field; empty: null
  std::string code;     ///< for programs, "context_length_exceeded"; empty: null
  int retry_after = 0;  ///< seconds for the Retry-After header; 0: none
};

/// Every base::Code has one status. `where` of the error becomes `param`.
ApiError to_api_error(const base::Error& error);

/// A 400 about one field of the request.
base::Error field_error(std::string_view field, std::string message);

/// The JSON document, without the status.
std::string error_body(const ApiError& error);

/// For errors that the HTTP layer finds by itself (404, 413, ...).
std::string error_body(int status, std::string_view message);

http::Response error_response(const ApiError& error);

}  // namespace tw::serve
