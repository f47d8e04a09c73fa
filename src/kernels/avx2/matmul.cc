// Products with quantized weights in panels of 8 rows.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vector.h"
#include "kernels/panel_matmul.h"

namespace tw::kernels {

void avx2_matmul_slots(KernelSlots& slots) {
  fill_slots<Avx2Vector>(slots);
}

}  // namespace tw::kernels
