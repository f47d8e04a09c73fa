// Reads fields of a model's JSON files by name and remembers the first that is missing or wrong.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "base/json.h"

namespace tw::model {

/// One object of one file. Fields that are absent or null leave `out` as it is.
class JsonFields {
 public:
  /// `object` must outlive this; `where` names the file in errors.
  JsonFields(const base::Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  bool has(const char* key) const { return find(key) != nullptr; }

  /// T: std::string, bool, a float type, or an integer type (whose range counts).
  template <typename T>
  void read(const char* key, T& out, bool required = false) {
    const base::Json* value = find(key);
    if (value == nullptr) {
      if (required) fail(key, "is missing");
    } else if (!fits<T>(*value)) {
      fail(key, "is " + shown(*value) + ", but should be " + kind_name<T>());
    } else {
      out = value->template get<T>();
    }
  }

  /// A number from `low` to `high`.
  template <typename T>
  void read(const char* key, std::optional<T>& out, double low, double high) {
    T value{};
    if (!has(key)) return;
    read(key, value);
    if (status().ok() && !(static_cast<double>(value) >= low && static_cast<double>(value) <= high))
      fail(key, fmt::format("is {}, outside {} to {}", value, low, high));
    if (status().ok()) out = value;
  }

  void fail(const char* key, const std::string& why);
  base::Status status() const;

 private:
  const base::Json* find(const char* key) const;  // null: absent or null
  static std::string shown(const base::Json& value);

  template <typename T>
  static bool fits(const base::Json& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value.is_boolean();
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value.is_string();
    } else if constexpr (std::is_integral_v<T>) {
      if (!value.is_number_integer()) return false;
      if (value.is_number_unsigned())
        return value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<T>::max()};
      return value.get<std::int64_t>() >= std::numeric_limits<T>::min();
    } else {
      return value.is_number();
    }
  }
  template <typename T>
  static std::string kind_name() {
    if (std::is_same_v<T, bool>) return "true or false";
    if (std::is_same_v<T, std::string>) return "a text";
    return std::is_integral_v<T> ? fmt::format("a whole number of {} bits", 8 * sizeof(T)) : "a number";
  }

  const base::Json& object_;
  std::string where_;
  std::optional<base::Error> error_;
};

}  // namespace tw::model
