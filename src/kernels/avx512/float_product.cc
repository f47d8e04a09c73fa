// Products of many rows with F32, F16 and BF16 weights by 512-bit vectors.
#include "kernels/float_product.h"

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/intrinsics.h"

namespace tw::kernels {
namespace {

struct ProductVector {
  using Floats = __m512;
  static constexpr std::int64_t kLanes = 16;
  // 24 sums, 2 vectors of weights and a number of a row in 32 registers.
  static constexpr int kTileRows = 12;
  static Floats zeros() { return _mm512_setzero_ps(); }
  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
  static Floats all(float x) { return _mm512_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats in_register(Floats v) { return kernels::in_register(v); }
};
template <DType kType>
constexpr MatmulPath kPrompt = FloatProduct<ProductVector>::path<kType>("avx512 fp32, many rows");
constexpr GradientMatmul kGradient = FloatProduct<ProductVector>::gradient();

}  // namespace

#ifdef TW_EMULATED
namespace emulated {
#endif

void avx512_float_product_slots(KernelSlots& slots) {
  slots.prefill[static_cast<int>(DType::kF32)] = &kPrompt<DType::kF32>;
  slots.prefill[static_cast<int>(DType::kF16)] = &kPrompt<DType::kF16>;
  slots.prefill[static_cast<int>(DType::kBF16)] = &kPrompt<DType::kBF16>;
  slots.gradient_matmul = &kGradient;
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
