#include "base/hash64.h"

#include <bit>
#include <cstring>

namespace tw::base {
namespace {

// The specification's numbers.
constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F,
                        kPrime3 = 0x165667B19E3779F9, kPrime4 = 0x85EBCA77C2B2AE63,
                        kPrime5 = 0x27D4EB2F165667C5;
constexpr std::size_t kStripe = 32;

template <typename T>
std::uint64_t load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

std::uint64_t add_lane(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

/// All whole stripes in four lanes, joined.
std::uint64_t hash_stripes(const std::byte* p, std::size_t stripes) {
  std::uint64_t a = kPrime1 + kPrime2, b = kPrime2, c = 0, d = 0 - kPrime1;
  for (std::size_t i = 0; i < stripes; ++i, p += kStripe) {
    a = add_lane(a, load<std::uint64_t>(p));
    b = add_lane(b, load<std::uint64_t>(p + 8));
    c = add_lane(c, load<std::uint64_t>(p + 16));
    d = add_lane(d, load<std::uint64_t>(p + 24));
  }
  std::uint64_t hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  for (const std::uint64_t lane : {a, b, c, d}) hash = (hash ^ add_lane(0, lane)) * kPrime1 + kPrime4;
  return hash;
}

/// What is left after the stripes: by eight bytes, by four, by one.
std::uint64_t hash_rest(std::uint64_t hash, const std::byte* p, std::size_t bytes) {
  for (; bytes >= 8; p += 8, bytes -= 8)
    hash = std::rotl(hash ^ add_lane(0, load<std::uint64_t>(p)), 27) * kPrime1 + kPrime4;
  for (; bytes >= 4; p += 4, bytes -= 4)
    hash = std::rotl(hash ^ load<std::uint32_t>(p) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; bytes > 0; ++p, --bytes) hash = std::rotl(hash ^ load<std::uint8_t>(p) * kPrime5, 11) * kPrime1;
  return hash;
}

}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes) {
  const std::size_t stripes = bytes.size() / kStripe;
  std::uint64_t hash = stripes > 0 ? hash_stripes(bytes.data(), stripes) : kPrime5;
  hash += bytes.size();
  hash = hash_rest(hash, bytes.data() + stripes * kStripe, bytes.size() % kStripe);
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

std::uint64_t hash64(std::string_view text) {
  return hash64(std::as_bytes(std::span(text)));
}

}  // namespace tw::base
