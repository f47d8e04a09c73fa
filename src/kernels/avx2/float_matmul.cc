// Products with F32, F16 and BF16 weights as they lie in the file, in fp32.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"

namespace tw::kernels {
namespace {

constexpr int kTile = 4;  // activation rows that share one load of the weights

template <DType kType>
constexpr int kBytes = kType == DType::kF32 ? 4 : 2;

/// Eight weights as fp32.
template <DType kType>
__m256 load(const std::uint8_t* p) {
  if constexpr (kType == DType::kF32) return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (kType == DType::kF16) return _mm256_cvtph_ps(half);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/// The last k % 8 weights and activations, filled up with zeros.
template <DType kType>
__m256 load_tail(const std::uint8_t* p, std::int64_t count) {
  alignas(32) std::uint8_t buffer[8 * kBytes<kType>] = {};
  for (std::int64_t i = 0; i < count * kBytes<kType>; ++i) buffer[i] = p[i];
  return load<kType>(buffer);
}

/// kCount rows of x times one weight row. Every row is added in the same order for any kCount.
template <DType kType, int kCount>
void dots(const std::uint8_t* w, const float* const* x, std::int64_t k, float* out) {
  __m256 even[kCount], odd[kCount];
  for (int t = 0; t < kCount; ++t) even[t] = odd[t] = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    const __m256 w0 = load<kType>(w + i * kBytes<kType>), w1 = load<kType>(w + (i + 8) * kBytes<kType>);
    for (int t = 0; t < kCount; ++t) {
      even[t] = _mm256_fmadd_ps(w0, _mm256_loadu_ps(x[t] + i), even[t]);
      odd[t] = _mm256_fmadd_ps(w1, _mm256_loadu_ps(x[t] + i + 8), odd[t]);
    }
  }
  for (; i < k; i += 8) {
    const std::int64_t count = k - i < 8 ? k - i : 8;
    const __m256 w0 = load_tail<kType>(w + i * kBytes<kType>, count);
    for (int t = 0; t < kCount; ++t) {
      even[t] = _mm256_fmadd_ps(
          w0, load_tail<DType::kF32>(reinterpret_cast<const std::uint8_t*>(x[t] + i), count), even[t]);
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
        dots<kType, kTile>(static_cast<const std::uint8_t*>(a.weight) + n * a.k * kBytes<kType>, x, a.k, y);
        for (int i = 0; i < kTile; ++i) store(a, t + i, n, y[i]);
      }
    }
    for (; t < a.rows; ++t) {
      const float* x = row(t);
      for (std::int64_t n = begin; n < end; ++n) {
        float y;
        dots<kType, 1>(static_cast<const std::uint8_t*>(a.weight) + n * a.k * kBytes<kType>, &x, a.k, &y);
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

}  // namespace

void avx2_float_matmul_slots(KernelSlots& slots) {
  slots.matmul[static_cast<int>(DType::kF32)] = &kF32;
  slots.matmul[static_cast<int>(DType::kF16)] = &kF16;
  slots.matmul[static_cast<int>(DType::kBF16)] = &kBF16;
}

}  // namespace tw::kernels
