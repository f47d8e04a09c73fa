// Loops that measure the machine: reading, and multiplying from registers.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"

namespace tw::kernels {
namespace {

std::uint64_t read_sum(const ReadArgs& a) {
  __m256i sum[4];
  for (__m256i& s : sum) s = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < a.bytes; i += 128) {
    if (a.prefetch > 0) {
      _mm_prefetch(reinterpret_cast<const char*>(a.data + i + a.prefetch), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(a.data + i + 64 + a.prefetch), _MM_HINT_T0);
    }
    for (int j = 0; j < 4; ++j) {
      sum[j] = _mm256_add_epi64(sum[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(a.data + i) + j));
    }
  }
  const __m256i all = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), all);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

/// Nine independent sums hide the latency of two multipliers; with six factors they fit the registers.
PeakResult peak_floats(const PeakArgs& a) {
  __m256 x[3], y[3], sum[9];
  for (int i = 0; i < 3; ++i) {
    x[i] = _mm256_load_ps(a.values + 8 * i);
    y[i] = _mm256_load_ps(a.values + 8 * (i + 3));
  }
  for (__m256& s : sum) s = _mm256_setzero_ps();
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    for (int i = 0; i < 9; ++i) sum[i] = _mm256_fmadd_ps(x[i % 3], y[i / 3], sum[i]);
  }
  double total = 0;
  for (const __m256& s : sum) total += sum_lanes(s);
  return {"avx2 fp32 fma", 9.0 * 8 * 2 * static_cast<double>(a.rounds), total};
}

/// As products with nibbles do it: four steps in 16 bits, then one to 32.
PeakResult peak_bytes(const PeakArgs& a) {
  const auto at = [&](int i) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(a.data) + i); };
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i x[4], y[2], sum[2];
  for (int i = 0; i < 4; ++i) x[i] = _mm256_and_si256(at(i), _mm256_set1_epi8(15));
  for (int i = 0; i < 2; ++i) y[i] = at(4 + i);
  for (__m256i& s : sum) s = _mm256_setzero_si256();
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    __asm__ volatile("" : "+x"(y[0]), "+x"(y[1]));  // else the compiler sees that each round is the same
    for (int i = 0; i < 2; ++i) {
      __m256i words = _mm256_maddubs_epi16(x[0], y[i]);
      for (int j = 1; j < 4; ++j) words = _mm256_add_epi16(words, _mm256_maddubs_epi16(x[j], y[i]));
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(words, ones));
    }
  }
  const double total = sum_lanes(_mm256_cvtepi32_ps(_mm256_add_epi32(sum[0], sum[1])));
  return {"avx2 int8 maddubs", 2.0 * 4 * 32 * 2 * static_cast<double>(a.rounds), total};
}

PeakResult peak(const PeakArgs& a) {
  if (a.way == 0) return peak_floats(a);
  if (a.way == 1) return peak_bytes(a);
  return {nullptr, 0, 0};
}

}  // namespace

void avx2_probe_slots(KernelSlots& slots) {
  slots.read_sum = read_sum;
  slots.peak = peak;
}

}  // namespace tw::kernels
