// Inside ref: the scales of one group of values, by weighted least squares over the encodings that are tried.
#pragma once

#include <cstdint>

namespace tw::kernels {

/// n values, 16 or 32, and their weights.
struct Group {
  const float* x;
  const float* w;
  int n;
};

/// Rounds to the nearest whole number, ties to even. REQUIRES: |value| < 2^22. Two additions, which compilers
/// do many at a time.
static inline float rounded(float value) {
  return value + 12582912.0F - 12582912.0F;
}
static inline float clamped(float value, float low, float high) {
  return value < low ? low : value > high ? high : value;
}

/// The scale, of any sign, of x = scale * q with whole q from low to high.
float fit_scale(const Group& group, int low, int high);

struct ScaleAndOffset {
  float scale = 0, offset = 0;
};
/// The same of x = scale * q + offset with q from 0 to high; the scale is not negative. With `below` the
/// offset is not positive.
ScaleAndOffset fit_scale_and_offset(const Group& group, int high, bool below);

/// The numbers q of x = scale * q + offset, and the weighted sum of squared errors that they have.
float encode_group(const Group& group, float scale, float offset, int low, int high, std::uint8_t* q);
/// That sum alone.
float group_error(const Group& group, float scale, float offset, int low, int high);

/// The scale as fp16 has it; too large ones become the largest.
std::uint16_t scale_to_half(float scale);

}  // namespace tw::kernels
