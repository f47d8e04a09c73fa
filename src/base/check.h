// TW_CHECK(condition, "what was assumed"): ends the program when one of OUR assumptions is false.
// Never for input, files or peers: those get a Result (result.h).
#pragma once

namespace tw::base {
/// Prints file, line, condition and text to standard error, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* text);
}  // namespace tw::base

#define TW_CHECK(condition, text) \
  ((condition) ? void(0) : ::tw::base::check_failed(__FILE__, __LINE__, #condition, text))
