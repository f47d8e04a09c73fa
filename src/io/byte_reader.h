// A cursor over untrusted bytes: no read goes past the end, whatever the lengths in the file claim.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace tw::io {

/// Reads little-endian values (the host is little-endian: static_assert in gguf_parse.cc). Every function
/// returns false, and moves nothing, when fewer bytes are left than asked for.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  template <typename T>
  bool read(T& value) {
    static_assert(std::is_arithmetic_v<T>);
    if (remaining() < sizeof(T)) return false;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return true;
  }

  bool take(std::uint64_t count, std::span<const std::byte>& out) {
    if (remaining() < count) return false;
    out = bytes_.subspan(offset_, static_cast<std::size_t>(count));
    offset_ += static_cast<std::size_t>(count);
    return true;
  }

  /// A 64-bit length and that many bytes.
  bool read_string(std::string_view& out) {
    const std::size_t start = offset_;
    std::uint64_t length = 0;
    std::span<const std::byte> bytes;
    if (read(length) && take(length, bytes)) {
      out = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
      return true;
    }
    offset_ = start;
    return false;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
};

}  // namespace tw::io
