// Measures what this machine can do at best, so that `bench` can say what share of it a model reaches.
#pragma once

#include <cstddef>
#include <string>

namespace tw::kernels {

struct Ceilings {
  double bytes_per_second =
      0;  ///< best of several read loops, with and without prefetch, all threads together
  double flops_per_second = 0;     ///< multiply-adds from registers, random data, all threads; two FLOPs each
  std::string matrix_instruction;  ///< what gave flops_per_second: "avx2 fp32 fma", "avx512 vnni int8", ...
};

/// Reads a buffer of about `bytes` (at least 64 MiB, random data) and multiplies, on `threads` threads; takes
/// about half a second. Nothing else should run meanwhile.
Ceilings probe_ceilings(int threads, std::size_t bytes);

}  // namespace tw::kernels
