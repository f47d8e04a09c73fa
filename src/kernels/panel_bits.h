// A panel's numbers from their planes of bits (panels.h), once for all vector widths. Everything is internal
// to the including file. V is a vector policy: kRows, Ints, load, all16, both, either, left16, right16.
#pragma once

#include <cstdint>

#include "kernels/panels.h"

namespace tw::kernels {
namespace {

/// Each 16 bits of v moved kBits up (down, if negative).
template <typename V, int kBits>
[[gnu::always_inline]] inline typename V::Ints moved16(typename V::Ints v) {
  if constexpr (kBits > 0)
    return V::template left16<kBits>(v);
  else if constexpr (kBits < 0)
    return V::template right16<-kBits>(v);
  else
    return v;
}

/// Bits [0, kBits) of numbers k = 4j .. 4j+3 of each row, from a plane of so many bits, as bytes and moved
/// kUp bits up.
template <typename V, int kBits, int kUp, int j>
[[gnu::always_inline]] inline typename V::Ints plane_bits(const std::uint8_t* plane) {
  const typename V::Ints v = V::load(plane + j % kBits * V::kRows * 4);
  constexpr int kByte = ((1 << kBits) - 1) << kUp;
  return V::both(moved16<V, kUp - j / kBits * kBits>(v), V::all16(kByte * 0x101));
}

/// Numbers k = 4j .. 4j+3 of each row of a block's weights, of kBits < 8 bits each, as bytes and moved kUp
/// bits up.
template <typename V, int kBits, int kUp, int j>
[[gnu::always_inline]] inline typename V::Ints numbers(const std::uint8_t* weights) {
  constexpr int kLow = low_plane_bits(kBits), kHigh = kBits - kLow;
  const typename V::Ints low = plane_bits<V, kLow, kUp, j>(weights);
  if constexpr (kHigh == 0)
    return low;
  else
    return V::either(low, plane_bits<V, kHigh, kUp + kLow, j>(weights + kLow * V::kRows * 4));
}

/// How far up an unsigned number's zero is that of an int8, 128 higher: numbers without minimums.
constexpr int up_to_byte(PanelFormat f) {
  return f.minimums ? 0 : 8 - f.bits;
}

/// Which of a set's names a kernel has: those of bytes, nibbles and two planes or one of 2 bits.
constexpr int name_of(PanelFormat f) {
  return f.bits == 8 ? 0 : f.bits == 4 ? 1 : 2;
}

}  // namespace
}  // namespace tw::kernels
