// The kernels of training by 256-bit vectors.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"
#include "kernels/avx2/words.h"
#include "kernels/layer_rows.h"
#include "kernels/train_attention.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

struct TrainVector : Avx2Words {
  using Floats = __m256;
  static constexpr std::int64_t kLanes = 8;
  // 8 sums, 2 vectors of the right side and a factor fit the 16 registers.
  static constexpr int kTileRows = 4, kTileVectors = 2;

  static __m256i mask(std::int64_t lanes) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats load(const float* p, std::int64_t lanes) {
    return lanes >= kLanes ? load(p) : _mm256_maskload_ps(p, mask(lanes));
  }
  static Floats load_or(const float* p, std::int64_t lanes, float other) {
    return _mm256_blendv_ps(all(other), load(p, lanes), _mm256_castsi256_ps(mask(lanes)));
  }
  /// Numbers that are `stride` apart.
  static Floats load_column(const float* p, std::int64_t stride, std::int64_t lanes) {
    const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i places = _mm256_mullo_epi32(order, _mm256_set1_epi32(static_cast<int>(stride)));
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, places, _mm256_castsi256_ps(mask(lanes)), 4);
  }
  static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
  static void store(float* p, Floats v, std::int64_t lanes) {
    if (lanes >= kLanes)
      store(p, v);
    else
      _mm256_maskstore_ps(p, mask(lanes), v);
  }
  /// Rounds to nearest even; NaN stays NaN.
  static void store_bf16(std::uint16_t* p, Floats v, std::int64_t lanes) {
    alignas(16) std::uint16_t lane[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(lane), to_bfloats(v));
    for (std::int64_t i = 0; i < lanes; ++i) p[i] = lane[i];
  }
  static Floats all(float x) { return _mm256_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats root(Floats v) { return _mm256_sqrt_ps(v); }
  static Floats exp(Floats x) { return exp_lanes(x); }
  static float sum_of(Floats v) { return sum_lanes(v); }
  static float largest_of(Floats v) { return max_lanes(v); }
};

}  // namespace

void avx2_train_slots(KernelSlots& slots) {
  fill_train_slots<TrainVector>(slots.train);
  fill_layer_slots<TrainVector>(slots);
}

}  // namespace tw::kernels
