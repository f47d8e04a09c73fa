// Result<T>: a value, or an Error that says what went wrong, where, and what to do next.
// Use it wherever input, files, the network or a peer can fail; for our own bugs use TW_CHECK (check.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace tw::base {

/// The kind of an error. Callers decide by it (HTTP status, exit code); people read the message.
enum class Code {
  kInvalidArgument,    ///< the caller's value is wrong: change it
  kNotFound,           ///< the named thing does not exist
  kCorrupt,            ///< a file or message breaks its format
  kUnsupported,        ///< valid, but this build cannot do it
  kUnavailable,        ///< not now: try again later
  kResourceExhausted,  ///< a limit (memory, queue, size) was met
  kCancelled,          ///< the caller gave up
  kIo,                 ///< the operating system or the network failed
  kInternal,           ///< our own fault, found in time
};

struct Error {
  Code code = Code::kInvalidArgument;
  std::string message;  ///< one sentence that names the thing, the reason and the next step
  std::string where;    ///< file, offset, field or line; may be empty

  /// "where: message", or only the message.
  std::string text() const { return where.empty() ? message : where + ": " + message; }
};

/// Makes an Error from a format string: `return error(Code::kCorrupt, "tensor {} is cut off", name);`
template <typename... Args>
Error error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...), {}};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  /// REQUIRES: ok().
  T& value() & {
    TW_CHECK(ok(), "value() of an error");
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    TW_CHECK(ok(), "value() of an error");
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    TW_CHECK(ok(), "value() of an error");
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  /// REQUIRES: !ok().
  const Error& error() const& {
    TW_CHECK(!ok(), "error() of a value");
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    TW_CHECK(!ok(), "error() of a value");
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};

/// A Result without a value: `return Ok{};` or `return error(...)`.
using Status = Result<Ok>;

}  // namespace tw::base

#define TW_CONCAT_INNER(a, b) a##b
#define TW_CONCAT(a, b) TW_CONCAT_INNER(a, b)
/// `TW_ASSIGN_OR_RETURN(auto file, open(path));` hands an error on to the caller.
#define TW_ASSIGN_OR_RETURN(declaration, expression) \
  TW_ASSIGN_OR_RETURN_IMPL(TW_CONCAT(tw_result_, __LINE__), declaration, expression)
#define TW_ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                     \
  if (!result.ok()) return std::move(result).error();             \
  declaration = std::move(result).value()
/// `TW_RETURN_IF_ERROR(check(config));`
#define TW_RETURN_IF_ERROR(expression) \
  if (auto tw_status = (expression); !tw_status.ok()) return std::move(tw_status).error()
