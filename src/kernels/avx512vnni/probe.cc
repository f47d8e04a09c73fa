// Multiplying from registers with AVX512_VNNI.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/peak.h"

namespace tw::kernels {
namespace {

PeakResult peak_bytes(const PeakArgs& a) {
  __m512i x[4], y[4], sum[16];
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_load_si512(a.data + 64 * i);
    y[i] = _mm512_load_si512(a.data + 64 * (i + 4));
  }
  for (__m512i& s : sum) s = _mm512_setzero_si512();
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    for (int i = 0; i < 16; ++i) {
      __m512i added = _mm512_dpbusd_epi32(sum[i], x[i % 4], y[i / 4]);
      __asm__ volatile("" : "+v"(added));  // else rounds might be taken together
      sum[i] = added;
    }
  }
  double total = 0;
  for (const __m512i& s : sum) total += _mm512_reduce_add_epi32(s);
  return {"avx512 vnni int8", 16.0 * 64 * 2 * static_cast<double>(a.rounds), total};
}

PeakResult peak(const PeakArgs& a) {
  if (a.way == 0) return peak_floats(a);
  if (a.way == 1) return peak_bytes(a);
  return {nullptr, 0, 0};
}

}  // namespace

void avx512vnni_probe_slots(KernelSlots& slots) {
  slots.peak = peak;
}

}  // namespace tw::kernels
