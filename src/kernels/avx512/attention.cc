// Attention by 512-bit vectors: one holds the scores of a block's 16 positions.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/vector.h"
#include "kernels/piece_attention.h"

namespace tw::kernels {
namespace {

struct AttentionVector : Avx512Vector {
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

  /// exp(x), 0 below -87.3: the method of avx2/math.h.
  static Floats exp(Floats x) {
    const __mmask16 large = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3F), _CMP_GE_OQ);
    x = _mm512_max_ps(x, _mm512_set1_ps(-87.3F));
    const Floats n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    Floats r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    Floats p = _mm512_set1_ps(1.0F / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_maskz_scalef_ps(large, p, n);
  }
};

}  // namespace

void avx512_attention_slots(KernelSlots& slots) {
  fill_attention_slots<AttentionVector>(slots);
}

}  // namespace tw::kernels
