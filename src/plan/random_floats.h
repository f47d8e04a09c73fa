// Numbers for benchmarks: what multiplies them must not find zeros, which take less power.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace tw::plan {

/// Even between -1 and 1, the same every time.
inline std::vector<float> random_floats(std::size_t count) {
  std::minstd_rand random(7);
  std::uniform_real_distribution<float> even(-1, 1);
  std::vector<float> result(count);
  for (float& x : result) x = even(random);
  return result;
}

}  // namespace tw::plan
