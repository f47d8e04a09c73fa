// The two 16-bit floats (IEEE 754 binary16 and bfloat16) to and from fp32: exact, rounding to nearest even.
// NaN stays NaN and becomes quiet, keeping its sign and its upper payload bits, as the F16C instructions do.
//
// The functions are `static inline`, so that a file compiled for a wider instruction set that includes this
// leaves no weak symbol for the linker to choose.
#pragma once

#include <cstdint>
#include <cstring>

namespace tw::kernels {

static inline std::uint32_t float_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float bits_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7FFFU;
  if (magnitude >= 0x7C00U) {  // infinity or NaN: all exponent bits, and the quiet bit if there is a payload
    const std::uint32_t quiet = magnitude > 0x7C00U ? 0x00400000U : 0;
    return bits_float(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13 | quiet);
  }
  if (magnitude < 0x0400U) {  // zero or subnormal: magnitude * 2^-24, exact in fp32
    return bits_float(sign | float_bits(static_cast<float>(magnitude) * 0x1p-24F));
  }
  return bits_float(sign | ((magnitude << 13) + ((127U - 15U) << 23)));
}

static inline std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = float_bits(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U | (magnitude >> 13 & 0x3FFU));
  if (magnitude >= 0x477FF000U) return static_cast<std::uint16_t>(sign | 0x7C00U);  // from 65520 up: infinity
  if (magnitude < 0x38800000U) {
    // Below 2^-14 halves lie 2^-24 apart, as fp32 values around 0.5 lie 2^-24 ... 2^-23 apart: adding 0.5
    // makes the hardware round at the right bit.
    const std::uint32_t shifted = float_bits(bits_float(magnitude) + 0.5F) - float_bits(0.5F);
    return static_cast<std::uint16_t>(sign | shifted);
  }
  const std::uint32_t odd = magnitude >> 13 & 1U;
  const std::uint32_t rounded = magnitude - ((127U - 15U) << 23) + 0xFFFU + odd;
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

static inline float bfloat16_to_float(std::uint16_t value) {
  return bits_float(static_cast<std::uint32_t>(value) << 16);
}

static inline std::uint16_t float_to_bfloat16(float value) {
  const std::uint32_t bits = float_bits(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

}  // namespace tw::kernels
