// piece_attention.h's policy for 512-bit vectors: one holds the scores of a block's 16 positions. Everything
// is internal to the including file.
#pragma once

#include <cstdint>

#include "kernels/avx512/math.h"
#include "kernels/avx512/vector.h"
#include "kernels/avx512/words.h"

namespace tw::kernels {
namespace {

struct AttentionVector : Avx512Vector, Avx512Words {
  // With up to 16 sums, 2 to 8 vectors of keys or values and the factors fit the 32 registers; 8 sums at
  // least hide the latency of two multipliers.
  static constexpr int kMost = 8;
  static constexpr int blocks(int count) { return count > 4 ? 2 : count > 1 ? 4 : 8; }
  static constexpr int vectors(int count) { return count > 4 ? 2 : 4; }

  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats bfloats(const std::uint8_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static float half(const std::uint16_t* p) { return _cvtsh_ss(*p); }
  static float bfloat(const std::uint16_t* p) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_slli_epi32(_mm_cvtsi32_si128(*p), 16)));
  }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static float sum_of(Floats v) { return _mm512_reduce_add_ps(v); }
  static float largest_of(Floats v) { return _mm512_reduce_max_ps(v); }
  static Floats exp(Floats x) { return exp_lanes(x); }
};

}  // namespace
}  // namespace tw::kernels
