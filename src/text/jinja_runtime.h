// What one render owns: the budget it spends and the values it makes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/jinja_value.h"
#include "text/template_limits.h"

namespace tw::text::jinja {

/// For one thread. Must outlive every value it made.
class Runtime {
 public:
  /// `now`: what strftime_now shows, in seconds since 1970, as UTC; empty: the current local time.
  Runtime(const TemplateLimits& limits, std::optional<std::int64_t> now)
      : limits_(limits), heap_(limits.max_memory_bytes), now_(now) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  const TemplateLimits& limits() const { return limits_; }
  std::optional<std::int64_t> now() const { return now_; }
  Heap& heap() { return heap_; }

  /// Counts work; kResourceExhausted once the steps or the memory are used up.
  base::Status step(std::size_t count = 1) {
    steps_ += count;
    if (!spent()) return base::Ok{};
    return out_of_budget();
  }
  /// Whether step() would fail: the budget is used up, or a text was made that is longer than all output may
  /// be.
  bool spent() const { return steps_ > limits_.max_steps || oversized_ || !heap_.fits(0); }
  /// Asked before text or lists of a size that the template chooses are made.
  base::Status reserve(std::size_t bytes);
  /// Whether text under construction may be this long; counts no work.
  base::Status check_memory(std::size_t bytes) const;

  Value undefined(std::string message);
  /// A string; invalid UTF-8 in it becomes U+FFFD.
  Value string(std::string text, bool markup = false);
  base::Result<Value> list(std::vector<Value> items) { return sequence(Kind::kList, std::move(items)); }
  base::Result<Value> tuple(std::vector<Value> items) { return sequence(Kind::kTuple, std::move(items)); }
  base::Result<Value> group(Value grouper, Value items);  ///< what groupby gives
  base::Result<Value> dict(DictItems items);
  base::Result<Value> generator(std::vector<Value> items, std::optional<base::Error> failure = std::nullopt);
  Value new_namespace(DictItems items);

 private:
  base::Result<Value> sequence(Kind kind, std::vector<Value> items);
  base::Status check_depth(int depth) const;
  base::Error out_of_budget() const;

  const TemplateLimits limits_;
  Heap heap_;
  std::size_t steps_ = 0;
  bool oversized_ = false;
  std::optional<std::int64_t> now_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

/// An error of the template itself, such as Python's TypeError.
template <typename... Parts>
base::Error template_error(fmt::format_string<Parts...> format, Parts&&... parts) {
  return base::error(base::Code::kCorrupt, format, std::forward<Parts>(parts)...);
}
/// The error that using an undefined value gives.
base::Error undefined_error(const Value& value);

/// The arguments of a call matched to parameter names; a missing one is null.
class Bound {
 public:
  explicit Bound(std::vector<const Value*> values) : values_(std::move(values)) {}
  const Value* operator[](std::size_t i) const { return values_[i]; }
  /// The argument, or `fallback`.
  bool flag(std::size_t i, bool fallback) const;
  base::Result<Int> integer(std::size_t i, Int fallback) const;
  /// Text of a string argument; an error for other types.
  base::Result<std::string> text(std::size_t i, std::string_view fallback) const;
  bool given(std::size_t i) const { return values_[i] != nullptr && !values_[i]->is_none(); }

 private:
  std::vector<const Value*> values_;
};

/// Fails as Python does when there are too many, unknown or missing arguments. Parameters named "" are
/// positional.
base::Result<Bound> bind(std::string_view function, const Args& args,
                         std::initializer_list<std::string_view> names, std::size_t required);

}  // namespace tw::text::jinja
