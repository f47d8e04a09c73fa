// Products with quantized weights in panels of 16 rows, by dot products of bytes.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/intrinsics.h"
#include "kernels/avx512/vector.h"
#include "kernels/panel_matmul.h"

namespace tw::kernels {
namespace {

struct VnniVector : Avx512Vector {
  static constexpr bool kDot = true;
  static constexpr const char* kBytesName = "avx512 vnni panels of 16, bytes";
  static constexpr const char* kNibblesName = "avx512 vnni panels of 16, nibbles";
  static Ints dot(Ints sum, Ints w, Ints q) { return _mm512_dpbusd_epi32(sum, w, q); }
};

}  // namespace

#ifdef TW_EMULATED
namespace emulated {
#endif

void avx512vnni_matmul_slots(KernelSlots& slots) {
  fill_slots<VnniVector>(slots);
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
