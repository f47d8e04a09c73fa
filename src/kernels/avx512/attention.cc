// Attention by 512-bit vectors.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/attention_vector.h"
#include "kernels/avx512/avx512.h"
#include "kernels/piece_attention.h"

namespace tw::kernels {

void avx512_attention_slots(KernelSlots& slots) {
  fill_attention_slots<AttentionVector>(slots);
}

}  // namespace tw::kernels
