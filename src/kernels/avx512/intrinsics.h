// The 512-bit operations: the processor's, or in tests on machines without them SIMDe's imitation
// (TW_EMULATED).
#pragma once

#include <cstdint>

#ifdef TW_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#else
#include <immintrin.h>
#endif

namespace tw::kernels {
namespace {

#ifdef TW_EMULATED
// SIMDe 0.7 lacks these, or names them wrongly.
inline __m512 join_halves(__m256 low, __m256 high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
inline __m512 floats_of(__m512i v) {
  alignas(64) std::int32_t lanes[16];
  _mm512_storeu_si512(lanes, v);
  const auto* p = reinterpret_cast<const __m256i*>(lanes);
  return join_halves(_mm256_cvtepi32_ps(p[0]), _mm256_cvtepi32_ps(p[1]));
}
inline __m512 floats_of_halves(const std::uint8_t* p) {
  const auto* v = reinterpret_cast<const __m128i*>(p);
  return join_halves(_mm256_cvtph_ps(_mm_loadu_si128(v)), _mm256_cvtph_ps(_mm_loadu_si128(v + 1)));
}
inline __m512 floats_of_signed_bytes(const std::uint8_t* p) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return join_halves(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
                     _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8))));
}
inline __m512 floats_of_bytes(const std::uint8_t* p) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return join_halves(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
                     _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))));
}
inline __m512i multiply_words(__m512i a, __m512i b) {
  return simde_mm512_madd_epi16(a, b);
}
/// Keeps the compiler from loading it again for each use.
template <typename Vector>
Vector in_register(Vector v) {
  return v;
}
#else
template <typename Vector>
Vector in_register(Vector v) {
  __asm__("" : "+v"(v));
  return v;
}
inline __m512 floats_of(__m512i v) {
  return _mm512_cvtepi32_ps(v);
}
inline __m512 floats_of_halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m512 floats_of_signed_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline __m512 floats_of_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline __m512i multiply_words(__m512i a, __m512i b) {
  return _mm512_madd_epi16(a, b);
}
#endif

}  // namespace
}  // namespace tw::kernels
