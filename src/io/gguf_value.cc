#include "io/gguf_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "io/byte_reader.h"
#include "io/tensor_file.h"

namespace tw::io {
namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

bool is_signed(GgufType type) {
  return type == GgufType::kInt8 || type == GgufType::kInt16 || type == GgufType::kInt32 ||
         type == GgufType::kInt64;
}

bool is_unsigned(GgufType type) {
  return type == GgufType::kUint8 || type == GgufType::kUint16 || type == GgufType::kUint32 ||
         type == GgufType::kUint64;
}

std::int64_t load_signed(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kInt8:
      return load<std::int8_t>(at);
    case GgufType::kInt16:
      return load<std::int16_t>(at);
    case GgufType::kInt32:
      return load<std::int32_t>(at);
    default:
      return load<std::int64_t>(at);
  }
}

/// Unsigned integers, and bool as 0 and 1.
std::uint64_t load_unsigned(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kBool:
      return load<std::uint8_t>(at);
    case GgufType::kUint16:
      return load<std::uint16_t>(at);
    case GgufType::kUint32:
      return load<std::uint32_t>(at);
    default:
      return load<std::uint64_t>(at);
  }
}

double load_float(GgufType type, const std::byte* at) {
  return type == GgufType::kFloat32 ? static_cast<double>(load<float>(at)) : load<double>(at);
}

constexpr auto kMaxInt64 = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

std::string scalar_text(GgufType type, const std::byte* at) {
  if (type == GgufType::kBool) return load_unsigned(type, at) != 0 ? "true" : "false";
  if (is_signed(type)) return fmt::format("{}", load_signed(type, at));
  if (is_unsigned(type)) return fmt::format("{}", load_unsigned(type, at));
  if (type == GgufType::kFloat32) return fmt::format("{}", load<float>(at));
  return fmt::format("{}", load<double>(at));
}

std::string array_text(const GgufValue& array, std::size_t max_elements, std::size_t max_string) {
  const std::uint64_t shown = std::min<std::uint64_t>(array.count, max_elements);
  const std::size_t step = gguf_type_bytes(array.element_type);
  ByteReader reader(array.payload);
  std::string out = "[";
  for (std::uint64_t i = 0; i < shown; ++i) {
    if (i > 0) out += ", ";
    std::string_view text;
    if (array.element_type == GgufType::kString) {
      out += reader.read_string(text) ? quote_text(text, max_string) : "";
    } else {
      out += scalar_text(array.element_type, array.payload.data() + i * step);
    }
  }
  if (shown < array.count) out += fmt::format("{}... {} in all", shown > 0 ? ", " : "", array.count);
  return out + "]";
}

}  // namespace

std::optional<std::uint64_t> GgufValue::as_uint() const {
  if (is_unsigned(type)) return load_unsigned(type, payload.data());
  if (!is_signed(type)) return std::nullopt;
  const std::int64_t value = load_signed(type, payload.data());
  return value < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(value));
}

std::optional<std::int64_t> GgufValue::as_int() const {
  if (is_signed(type)) return load_signed(type, payload.data());
  if (!is_unsigned(type)) return std::nullopt;
  const std::uint64_t value = load_unsigned(type, payload.data());
  return value > kMaxInt64 ? std::nullopt : std::optional(static_cast<std::int64_t>(value));
}

std::optional<double> GgufValue::as_float() const {
  if (type == GgufType::kFloat32 || type == GgufType::kFloat64) return load_float(type, payload.data());
  if (is_signed(type)) return static_cast<double>(load_signed(type, payload.data()));
  if (is_unsigned(type)) return static_cast<double>(load_unsigned(type, payload.data()));
  return std::nullopt;
}

std::optional<bool> GgufValue::as_bool() const {
  if (type != GgufType::kBool) return std::nullopt;
  return load_unsigned(type, payload.data()) != 0;
}

std::optional<std::string_view> GgufValue::as_string() const {
  if (type != GgufType::kString) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(payload.data()), payload.size());
}

std::optional<std::vector<std::string_view>> GgufValue::as_strings() const {
  if (type != GgufType::kArray || element_type != GgufType::kString) return std::nullopt;
  std::vector<std::string_view> out(static_cast<std::size_t>(count));
  ByteReader reader(payload);
  for (std::string_view& text : out) {
    if (!reader.read_string(text)) return std::nullopt;
  }
  return out;
}

std::optional<std::vector<float>> GgufValue::as_floats() const {
  const bool is_float = element_type == GgufType::kFloat32 || element_type == GgufType::kFloat64;
  if (type != GgufType::kArray || !is_float) return std::nullopt;
  std::vector<float> out(static_cast<std::size_t>(count));
  const std::size_t step = gguf_type_bytes(element_type);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(load_float(element_type, payload.data() + i * step));
  }
  return out;
}

std::optional<std::vector<std::int64_t>> GgufValue::as_ints() const {
  const bool is_int = is_signed(element_type) || is_unsigned(element_type) || element_type == GgufType::kBool;
  if (type != GgufType::kArray || !is_int) return std::nullopt;
  std::vector<std::int64_t> out(static_cast<std::size_t>(count));
  const std::size_t step = gguf_type_bytes(element_type);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::byte* at = payload.data() + i * step;
    if (is_signed(element_type)) {
      out[i] = load_signed(element_type, at);
    } else {
      const std::uint64_t value = load_unsigned(element_type, at);
      if (value > kMaxInt64) return std::nullopt;
      out[i] = static_cast<std::int64_t>(value);
    }
  }
  return out;
}

std::string GgufValue::type_text() const {
  if (type != GgufType::kArray) return std::string(gguf_type_name(type));
  return fmt::format("array of {} {}", count, gguf_type_name(element_type));
}

std::string GgufValue::to_text(std::size_t max_elements, std::size_t max_string) const {
  if (type == GgufType::kString) return quote_text(*as_string(), max_string);
  if (type != GgufType::kArray) return scalar_text(type, payload.data());
  if (element_type == GgufType::kArray) return fmt::format("[{} arrays]", count);
  return array_text(*this, max_elements, max_string);
}

}  // namespace tw::io
