// Products with F32, F16 and BF16 weights as they lie in the file, in fp32.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"
#include "kernels/float_product.h"

namespace tw::kernels {
namespace {

constexpr int kTile = 4;  // activation rows that share one load of the weights

/// kCount rows of x times one weight row. Every row is added in the same order for any kCount.
template <DType kType, int kCount>
void dots(const std::uint8_t* w, const float* const* x, std::int64_t k, float* out) {
  __m256 even[kCount], odd[kCount];
  for (int t = 0; t < kCount; ++t) even[t] = odd[t] = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    const __m256 w0 = load_eight<kType>(w + i * kFloatBytes<kType>),
                 w1 = load_eight<kType>(w + (i + 8) * kFloatBytes<kType>);
    for (int t = 0; t < kCount; ++t) {
      even[t] = _mm256_fmadd_ps(w0, _mm256_loadu_ps(x[t] + i), even[t]);
      odd[t] = _mm256_fmadd_ps(w1, _mm256_loadu_ps(x[t] + i + 8), odd[t]);
    }
  }
  for (; i < k; i += 8) {
    const std::int64_t count = k - i;
    const __m256 w0 = load_some<kType>(w + i * kFloatBytes<kType>, count);
    for (int t = 0; t < kCount; ++t) {
      even[t] = _mm256_fmadd_ps(
          w0, load_some<DType::kF32>(reinterpret_cast<const std::uint8_t*>(x[t] + i), count), even[t]);
    }
  }
  for (int t = 0; t < kCount; ++t) out[t] = sum_lanes(_mm256_add_ps(even[t], odd[t]));
}

void store(const MatmulArgs& a, std::int64_t t, std::int64_t n, float y) {
  if (a.bias != nullptr) y += a.bias[n];
  if (a.residual != nullptr) y += a.residual[t * a.out_stride + n];
  a.out[t * a.out_stride + n] = y;
}

template <DType kType>
void run(const MatmulArgs& a) {
  const auto row = [&](std::int64_t t) { return static_cast<const float*>(a.x) + t * a.k; };
  // Weight rows are taken 16 at a time against all activations, so that both stay in the nearest caches.
  for (std::int64_t begin = a.n_begin; begin < a.n_end; begin += 16) {
    const std::int64_t end = begin + 16 < a.n_end ? begin + 16 : a.n_end;
    std::int64_t t = 0;
    for (; t + kTile <= a.rows; t += kTile) {
      const float* x[kTile] = {row(t), row(t + 1), row(t + 2), row(t + 3)};
      for (std::int64_t n = begin; n < end; ++n) {
        float y[kTile];
        dots<kType, kTile>(static_cast<const std::uint8_t*>(a.weight) + n * a.k * kFloatBytes<kType>, x, a.k,
                           y);
        for (int i = 0; i < kTile; ++i) store(a, t + i, n, y[i]);
      }
    }
    for (; t < a.rows; ++t) {
      const float* x = row(t);
      for (std::int64_t n = begin; n < end; ++n) {
        float y;
        dots<kType, 1>(static_cast<const std::uint8_t*>(a.weight) + n * a.k * kFloatBytes<kType>, &x, a.k,
                       &y);
        store(a, t, n, y);
      }
    }
  }
}

template <DType kType>
constexpr MatmulKernel kernel(const char* name) {
  return {1, nullptr, nullptr, {name, 1, nullptr, nullptr, 1, nullptr, run<kType>}};
}
constexpr MatmulKernel kF32 = kernel<DType::kF32>("avx2 fp32");
constexpr MatmulKernel kF16 = kernel<DType::kF16>("avx2 fp16 widened");
constexpr MatmulKernel kBF16 = kernel<DType::kBF16>("avx2 bf16 widened");

struct ProductVector {
  using Floats = __m256;
  static constexpr std::int64_t kLanes = 8;
  // 12 sums, 2 vectors of weights and a number of a row in 16 registers.
  static constexpr int kTileRows = 6;
  static Floats zeros() { return _mm256_setzero_ps(); }
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
  static Floats all(float x) { return _mm256_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  /// Keeps the compiler from loading it again for each use.
  static Floats in_register(Floats v) {
    __asm__("" : "+x"(v));
    return v;
  }
};
template <DType kType>
constexpr MatmulPath kPrompt = FloatProduct<ProductVector>::path<kType>("avx2 fp32, many rows");
constexpr GradientMatmul kGradient = FloatProduct<ProductVector>::gradient();

}  // namespace

void avx2_float_matmul_slots(KernelSlots& slots) {
  slots.matmul[static_cast<int>(DType::kF32)] = &kF32;
  slots.matmul[static_cast<int>(DType::kF16)] = &kF16;
  slots.matmul[static_cast<int>(DType::kBF16)] = &kBF16;
  slots.prefill[static_cast<int>(DType::kF32)] = &kPrompt<DType::kF32>;
  slots.prefill[static_cast<int>(DType::kF16)] = &kPrompt<DType::kF16>;
  slots.prefill[static_cast<int>(DType::kBF16)] = &kPrompt<DType::kBF16>;
  slots.gradient_matmul = &kGradient;
}

}  // namespace tw::kernels
