// Measures what this machine can do at best, so that `bench` can say what share of it a model reaches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/args.h"

namespace tw::kernels {

struct Ceilings {
  double bytes_per_second =
      0;  ///< best of several read loops, with and without prefetch, all threads together
  /// Multiply-adds from registers, random data, all threads.
  struct Peak {
    std::string name;             ///< "avx2 fp32 fma", "avx512 vnni int8", "amx bf16 tiles", ...
    double flops_per_second = 0;  ///< a multiply-add is two
  };
  std::vector<Peak> peaks;

  /// The highest one whose name contains `kind` (all do when it is empty).
  const Peak& best(std::string_view kind) const;
};

/// Random numbers that a set's peak is measured with (PeakArgs).
struct PeakData {
  PeakData();
  alignas(64) std::uint8_t bytes[kPeakBytes];
  alignas(64) float values[kPeakBytes / 4];
};

/// Reads a buffer of about `bytes` (at least 64 MiB, random data) and multiplies, on `threads` threads; takes
/// about half a second. Nothing else should run meanwhile.
Ceilings probe_ceilings(int threads, std::size_t bytes);

}  // namespace tw::kernels
