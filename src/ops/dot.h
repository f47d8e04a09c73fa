// For src/ops alone.
#pragma once

#include <array>
#include <cstdint>

namespace tw::ops {

/// Sum of a[i] * b[i] in one order, by lanes that a compiler may keep together.
inline float dot(const float* a, const float* b, std::int64_t count) {
  std::array<float, 16> lanes{};
  constexpr auto kLanes = static_cast<std::int64_t>(lanes.size());
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (std::int64_t lane = 0; i < count; ++i, ++lane) lanes[lane] += a[i] * b[i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace tw::ops
