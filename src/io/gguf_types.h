// The numbers GGUF gives to types, of metadata values and of tensors (docs/formats/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtype.h"

namespace tw::io {

/// Types of metadata values, with the file's numbers.
enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};
inline constexpr std::uint32_t kGgufTypeCount = 13;

/// "uint32", "string", ...
std::string_view gguf_type_name(GgufType type);

/// Bytes of a value of fixed size; 0 for strings and arrays.
std::size_t gguf_type_bytes(GgufType type);

/// The element type that a tensor's type number stands for, or nullopt when this program cannot read it.
std::optional<base::DType> dtype_of_ggml(std::uint32_t number);
std::uint32_t ggml_of_dtype(base::DType type);

/// "IQ4_XS (23)" or "99 (unknown)": how messages call a type number.
std::string ggml_type_text(std::uint32_t number);

}  // namespace tw::io
