// Multiplying from 512-bit registers in fp32. Internal to the including file.
#pragma once

#include <immintrin.h>

#include "kernels/args.h"

namespace tw::kernels {
namespace {

/// Sixteen independent sums hide the latency of two multipliers; with eight factors they fit the registers.
inline PeakResult peak_floats(const PeakArgs& a) {
  __m512 x[4], y[4], sum[16];
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_load_ps(a.values + 16 * i);
    y[i] = _mm512_load_ps(a.values + 16 * (i + 4));
  }
  for (__m512& s : sum) s = _mm512_setzero_ps();
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    for (int i = 0; i < 16; ++i) sum[i] = _mm512_fmadd_ps(x[i % 4], y[i / 4], sum[i]);
  }
  double total = 0;
  for (const __m512& s : sum) total += _mm512_reduce_add_ps(s);
  return {"avx512 fp32 fma", 16.0 * 16 * 2 * static_cast<double>(a.rounds), total};
}

}  // namespace
}  // namespace tw::kernels
