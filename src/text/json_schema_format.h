// The values of `format` that are enforced, as patterns for the whole string.
#pragma once

#include <string>
#include <string_view>

namespace tw::text {

/// The pattern of a format, or empty if it is not supported. Supported: date, time, date-time, duration (RFC
/// 3339), uuid, ipv4, ipv6 (RFC 4291, without an IPv4 tail), hostname (up to four labels), email (dot-atom at
/// a host of two to four labels), uri (RFC 3986 without IP literals). Where a pattern is narrower than its
/// standard, every match still is valid by the standard.
std::string format_pattern(std::string_view format);

}  // namespace tw::text
