// Attention by 256-bit vectors.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"
#include "kernels/avx2/vector.h"
#include "kernels/avx2/words.h"
#include "kernels/piece_attention.h"

namespace tw::kernels {
namespace {

struct AttentionVector : Avx2Vector, Avx2Words {
  // With up to 8 sums, 2 to 4 vectors of keys or values and the factors fit the 16 registers.
  static constexpr int kMost = 4;
  static constexpr int blocks(int count) { return count > 2 ? 1 : 4 / count; }
  static constexpr int vectors(int count) { return count > 2 ? 2 : 4; }

  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats bfloats(const std::uint8_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static float half(const std::uint16_t* p) { return _cvtsh_ss(*p); }
  static float bfloat(const std::uint16_t* p) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_slli_epi32(_mm_cvtsi32_si128(*p), 16)));
  }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats exp(Floats x) { return exp_lanes(x); }
  static float sum_of(Floats v) { return sum_lanes(v); }
  static float largest_of(Floats v) { return max_lanes(v); }
};

}  // namespace

void avx2_attention_slots(KernelSlots& slots) {
  fill_attention_slots<AttentionVector>(slots);
}

}  // namespace tw::kernels
