// One metadata value of a GGUF file, read where it lies.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf_types.h"

namespace tw::io {

/// A view of checked bytes in the file: large arrays (a vocabulary) cost nothing until asked for. It lives as
/// long as the file. The as_ functions return nullopt when the value has another type or does not fit.
struct GgufValue {
  GgufType type = GgufType::kUint8;
  GgufType element_type = GgufType::kUint8;  ///< of an array; else equal to type
  std::uint64_t count = 1;                   ///< elements of an array; else 1
  std::span<const std::byte> payload;        ///< a string: its bytes; an array: its elements as in the file

  /// Any integer type, if the number fits.
  std::optional<std::uint64_t> as_uint() const;
  std::optional<std::int64_t> as_int() const;
  /// Any integer or float type.
  std::optional<double> as_float() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;
  std::optional<std::vector<std::string_view>> as_strings() const;
  /// An array of float32 or float64 (rounded).
  std::optional<std::vector<float>> as_floats() const;
  /// An array of any integer type or of bool (0 and 1).
  std::optional<std::vector<std::int64_t>> as_ints() const;

  /// "uint32", "array of 512 string".
  std::string type_text() const;
  /// The value for people, strings and arrays cut short: 3, 'llama', ['<s>', '</s>', ... 512 in all].
  std::string to_text(std::size_t max_elements = 8, std::size_t max_string = 80) const;
};

}  // namespace tw::io
