// Small text helpers for HTTP: case, percent escapes, header values, status lines. Internal to src/http.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace tw::http {

/// ASCII only.
bool same_ignoring_case(std::string_view a, std::string_view b);

/// Splits an HTTP request target ("/a%20b?q", or absolute "http://host/a") into the decoded path and the raw
/// query. False for anything else, for bad escapes, and for control characters in the decoded path.
/// "*" (OPTIONS) is kept as it is.
bool split_target(std::string_view target, std::string& path, std::string& query);

/// True when `id` may be echoed as X-Request-Id: 1 to 128 characters of [A-Za-z0-9._-].
bool is_sane_request_id(std::string_view id);

std::string_view reason_phrase(int status);

/// Appends "Name: value\r\n"; CR, LF and NUL in either become spaces, so that no value can forge a header.
void append_header(std::string& head, std::string_view name, std::string_view value);

/// The words of a list such as "a, b", trimmed.
std::vector<std::string_view> split_list(std::string_view text);

}  // namespace tw::http
