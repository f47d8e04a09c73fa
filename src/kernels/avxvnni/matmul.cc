// Products with quantized weights in panels of 8 rows, by dot products of words (AVX_VNNI).
#ifdef TW_EMULATED
#include "kernels/avx512/intrinsics.h"
#else
#include <immintrin.h>
#endif

#include "kernels/avx2/vector.h"
#include "kernels/avx512/avx512.h"
#include "kernels/panel_matmul.h"

namespace tw::kernels {
namespace {

struct VnniVector : Avx2Vector {
  static constexpr const char* kNames[] = {"avx2 vnni panels of 8, bytes", "avx2 vnni panels of 8, nibbles",
                                           "avx2 vnni panels of 8, bits"};
#ifdef TW_EMULATED
  static Ints add_products(Ints sum, Ints w, Ints q) { return simde_mm256_dpwssd_epi32(sum, w, q); }
#else
  static Ints add_products(Ints sum, Ints w, Ints q) { return _mm256_dpwssd_avx_epi32(sum, w, q); }
#endif
};

}  // namespace

#ifdef TW_EMULATED
namespace emulated {
#endif

void avxvnni_matmul_slots(KernelSlots& slots) {
  fill_slots<VnniVector>(slots);
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
