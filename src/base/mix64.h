// Unrelated numbers out of neighbouring ones.
#pragma once

#include <cstdint>

namespace tw::base {

/// SplitMix64's output step (Steele, Lea, Flood, OOPSLA 2014): one to one, and each input bit changes each
/// output bit half of the time.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

/// From one state of SplitMix64 to the next: 2^64 divided by the golden ratio.
inline constexpr std::uint64_t kMixStep = 0x9E3779B97F4A7C15U;

}  // namespace tw::base
