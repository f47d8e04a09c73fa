// XXH64: a fast 64-bit checksum against damage, not against forgery.
// Specification: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tw::base {

/// XXH64 of the bytes with seed 0.
std::uint64_t hash64(std::span<const std::byte> bytes);
std::uint64_t hash64(std::string_view text);

}  // namespace tw::base
