#include "serve/errors.h"

#include "base/json.h"

namespace tw::serve {
namespace {

constexpr int kRetrySeconds = 1;  // a queue moves within a second; clients back off further by themselves

std::string_view type_of(int status) {
  if (status == 401 || status == 403) return "authentication_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

base::Json text_or_null(const std::string& text) {
  return text.empty() ? base::Json(nullptr) : base::Json(text);
}

ApiError make(int status, const base::Error& error, std::string code, int retry_after = 0) {
  return {status, error.message, std::string(type_of(status)), error.where, std::move(code), retry_after};
}

}  // namespace

ApiError to_api_error(const base::Error& error) {
  switch (error.code) {
    case base::Code::kInvalidArgument:
      return make(400, error, "");
    case base::Code::kCorrupt:
      return make(400, error, "invalid_json");
    case base::Code::kUnsupported:
      return make(400, error, "unsupported");
    case base::Code::kNotFound:
      return make(404, error, "model_not_found");
    case base::Code::kResourceExhausted:
      return make(429, error, "queue_full", kRetrySeconds);
    case base::Code::kUnavailable:
      return make(503, error, "unavailable", kRetrySeconds);
    case base::Code::kCancelled:
      return make(503, error, "aborted", kRetrySeconds);
    case base::Code::kInternal:
    case base::Code::kIo:
      return make(500, error, "");
  }
  return make(500, error, "");
}

base::Error field_error(std::string_view field, std::string message) {
  return base::Error{base::Code::kInvalidArgument, std::move(message), std::string(field)};
}

std::string error_body(const ApiError& error) {
  base::Json body;
  body["error"] = {{"message", error.message},
                   {"type", error.type},
                   {"param", text_or_null(error.param)},
                   {"code", text_or_null(error.code)}};
  return base::dump_json(body);
}

std::string error_body(int status, std::string_view message) {
  return error_body(ApiError{status, std::string(message), std::string(type_of(status)), {}, {}, 0});
}

http::Response error_response(const ApiError& error) {
  http::Response response{error.status, "application/json", error_body(error), {}};
  if (error.retry_after > 0) response.headers.push_back({"Retry-After", std::to_string(error.retry_after)});
  return response;
}

}  // namespace tw::serve
