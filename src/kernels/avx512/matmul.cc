// Products with quantized weights in panels of 16 rows.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/intrinsics.h"
#include "kernels/avx512/vector.h"
#include "kernels/panel_matmul.h"

namespace tw::kernels {

#ifdef TW_EMULATED
namespace emulated {
#endif

void avx512_matmul_slots(KernelSlots& slots) {
  fill_slots<Avx512Vector>(slots);
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
