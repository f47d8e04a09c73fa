// Attention by 256-bit vectors.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"
#include "kernels/avx2/vector.h"
#include "kernels/piece_attention.h"

namespace tw::kernels {
namespace {

struct AttentionVector : Avx2Vector {
  // With up to 8 sums, 2 to 4 vectors of keys or values and the factors fit the 16 registers.
  static constexpr int kMost = 4;
  static constexpr int blocks(int count) { return count > 2 ? 1 : 4 / count; }
  static constexpr int vectors(int count) { return count > 2 ? 2 : 4; }

  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static float half(const std::uint16_t* p) { return _cvtsh_ss(*p); }
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
