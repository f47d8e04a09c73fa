// The numbers of docs/formats/packed.md, for its reader and its writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tw::io {

inline constexpr std::string_view kPackedMagic = "TWPACKED";
inline constexpr std::uint32_t kPackedVersion = 1;
inline constexpr std::uint64_t kPackedAlignment = 4096;  ///< of each tensor's data
inline constexpr std::uint64_t kPackedFixedBytes = 64;   ///< before the table
inline constexpr std::uint64_t kPackedMaxTable = 64 << 20;

constexpr std::uint64_t packed_aligned(std::uint64_t offset) {
  return (offset + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment;
}

}  // namespace tw::io
