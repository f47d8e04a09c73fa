// A shuffle without a list: position i of n goes to a place that depends on the key alone.
#pragma once

#include <cstdint>

#include "base/mix64.h"

namespace tw::train {

/// A well mixed number of two.
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return base::mix64(a * base::kMixStep + b + 0x632BE59BD9B4E019U);
}

/// A permutation of [0, n) by a Feistel network over the next power of four, walked until it ends inside
/// (Black and Rogaway 2002, cycle walking): less than 4 steps on average.
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t key) : n_(n), key_(key) {
    while (half_ < 32 && (std::uint64_t{1} << (2 * half_)) < n) ++half_;
  }
  /// REQUIRES: i < n.
  std::uint64_t operator()(std::uint64_t i) const {
    do i = step(i);
    while (i >= n_);
    return i;
  }

 private:
  std::uint64_t step(std::uint64_t i) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
    std::uint64_t left = i >> half_, right = i & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t next = left ^ (mix(key_ + round, right) & mask);
      left = right;
      right = next;
    }
    return left << half_ | right;
  }

  std::uint64_t n_, key_;
  unsigned half_ = 1;
};

}  // namespace tw::train
