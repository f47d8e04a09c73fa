// Loops that measure the machine with 512-bit vectors.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/peak.h"

namespace tw::kernels {
namespace {

std::uint64_t read_sum(const ReadArgs& a) {
  __m512i sum[4];
  for (__m512i& s : sum) s = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < a.bytes; i += 256) {
    for (int j = 0; j < 4; ++j) {
      const std::uint8_t* p = a.data + i + 64 * j;
      if (a.prefetch > 0) _mm_prefetch(reinterpret_cast<const char*>(p + a.prefetch), _MM_HINT_T0);
      sum[j] = _mm512_add_epi64(sum[j], _mm512_load_si512(p));
    }
  }
  const __m512i all = _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3]));
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(all));
}

/// As products with nibbles do it: four steps in 16 bits, then one to 32.
PeakResult peak_bytes(const PeakArgs& a) {
  const auto at = [&](int i) { return _mm512_load_si512(a.data + 64 * i); };
  const __m512i ones = _mm512_set1_epi16(1);
  __m512i x[4], y[4], sum[4];
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_and_si512(at(i), _mm512_set1_epi8(15));
    y[i] = at(4 + i);
    sum[i] = _mm512_setzero_si512();
  }
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    for (int i = 0; i < 4; ++i) {
      __asm__ volatile("" : "+v"(y[i]));  // else the compiler sees that each round is the same
      __m512i words = _mm512_maddubs_epi16(x[0], y[i]);
      for (int j = 1; j < 4; ++j) words = _mm512_add_epi16(words, _mm512_maddubs_epi16(x[j], y[i]));
      sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(words, ones));
    }
  }
  const __m512i all = _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3]));
  return {"avx512 int8 maddubs", 4.0 * 4 * 64 * 2 * static_cast<double>(a.rounds),
          static_cast<double>(_mm512_reduce_add_epi32(all))};
}

PeakResult peak(const PeakArgs& a) {
  if (a.way == 0) return peak_floats(a);
  if (a.way == 1) return peak_bytes(a);
  return {nullptr, 0, 0};
}

}  // namespace

void avx512_probe_slots(KernelSlots& slots) {
  slots.read_sum = read_sum;
  slots.peak = peak;
}

}  // namespace tw::kernels
