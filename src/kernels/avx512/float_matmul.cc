// Products with F32, F16 and BF16 weights as they lie in the file, in fp32: four weight rows at a time
// against up to four activation rows. Every pair of rows has one sum of 16 lanes, so that its bits do not
// depend on its company.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/avx512.h"

namespace tw::kernels {
namespace {

constexpr int kWeightRows = 4;
constexpr int kTile = 4;               // activation rows that share one load of the weights
constexpr std::int64_t kAhead = 1024;  // bytes that are asked for in advance

template <DType kType>
constexpr int kBytes = kType == DType::kF32 ? 4 : 2;

/// Those of 16 weights that the mask names, as fp32; the others are zero.
template <DType kType>
__m512 load(const std::uint8_t* p, __mmask16 mask) {
  if constexpr (kType == DType::kF32) return _mm512_maskz_loadu_ps(mask, p);
  const __m256i half = _mm256_maskz_loadu_epi16(mask, p);
  if constexpr (kType == DType::kF16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/// kWeights weight rows from `w` on times kCount activation rows; out[t * kWeights + n].
template <DType kType, int kWeights, int kCount>
void dots(const std::uint8_t* w, const float* x, std::int64_t k, float* out) {
  __m512 sum[kCount][kWeights];
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int n = 0; n < kWeights; ++n) sum[t][n] = _mm512_setzero_ps();
  }
  const std::int64_t row = k * kBytes<kType>;
  for (std::int64_t i = 0; i < k; i += 16) {
    const std::int64_t left = k - i;
    const auto mask = static_cast<__mmask16>(left < 16 ? (1 << left) - 1 : 0xFFFF);
    const std::uint8_t* p = w + i * kBytes<kType>;
    // Past the end of a row comes the next row that this loop takes.
    const std::int64_t ahead = left * kBytes<kType> > kAhead ? kAhead : kAhead + (kWeights - 1) * row;
    __m512 v[kWeights];
#pragma GCC unroll 4
    for (int n = 0; n < kWeights; ++n) {
      v[n] = load<kType>(p + n * row, mask);
      _mm_prefetch(reinterpret_cast<const char*>(p + n * row + ahead), _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kCount; ++t) {
      const __m512 values = _mm512_maskz_loadu_ps(mask, x + t * k + i);
#pragma GCC unroll 4
      for (int n = 0; n < kWeights; ++n) sum[t][n] = _mm512_fmadd_ps(v[n], values, sum[t][n]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int n = 0; n < kWeights; ++n) out[t * kWeights + n] = _mm512_reduce_add_ps(sum[t][n]);
  }
}

/// Rows from t on against kWeights weight rows from n on, kCount at a time; returns the first row left over.
template <DType kType, int kWeights, int kCount>
std::int64_t run_rows(const MatmulArgs& a, std::int64_t n, std::int64_t t) {
  const auto* w = static_cast<const std::uint8_t*>(a.weight) + n * a.k * kBytes<kType>;
  for (; t + kCount <= a.rows; t += kCount) {
    float y[kCount * kWeights];
    dots<kType, kWeights, kCount>(w, static_cast<const float*>(a.x) + t * a.k, a.k, y);
    for (int i = 0; i < kCount * kWeights; ++i) {
      const std::int64_t column = n + i % kWeights, at = (t + i / kWeights) * a.out_stride + column;
      float value = y[i];
      if (a.bias != nullptr) value += a.bias[column];
      if (a.residual != nullptr) value += a.residual[at];
      a.out[at] = value;
    }
  }
  return t;
}

template <DType kType, int kWeights>
void run_columns(const MatmulArgs& a, std::int64_t n) {
  std::int64_t t = run_rows<kType, kWeights, kTile>(a, n, 0);
  t = run_rows<kType, kWeights, kTile / 2>(a, n, t);
  run_rows<kType, kWeights, 1>(a, n, t);
}

template <DType kType>
void run(const MatmulArgs& a) {
  std::int64_t n = a.n_begin;
  for (; n + kWeightRows <= a.n_end; n += kWeightRows) run_columns<kType, kWeightRows>(a, n);
  for (; n < a.n_end; ++n) run_columns<kType, 1>(a, n);
}

template <DType kType>
constexpr MatmulKernel kernel(const char* name) {
  return {1, nullptr, nullptr, {name, kWeightRows, nullptr, nullptr, 1, nullptr, run<kType>}};
}
constexpr MatmulKernel kF32 = kernel<DType::kF32>("avx512 fp32");
constexpr MatmulKernel kF16 = kernel<DType::kF16>("avx512 fp16 widened");
constexpr MatmulKernel kBF16 = kernel<DType::kBF16>("avx512 bf16 widened");

}  // namespace

void avx512_float_matmul_slots(KernelSlots& slots) {
  slots.matmul[static_cast<int>(DType::kF32)] = &kF32;
  slots.matmul[static_cast<int>(DType::kF16)] = &kF16;
  slots.matmul[static_cast<int>(DType::kBF16)] = &kBF16;
}

}  // namespace tw::kernels
