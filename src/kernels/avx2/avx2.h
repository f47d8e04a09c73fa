// The AVX2 set (with FMA and F16C). Each function lives in a file of its own and fills in the entries it has.
#pragma once

#include "kernels/args.h"

namespace tw::kernels {

void avx2_matmul_slots(KernelSlots& slots);        ///< quantized weights
void avx2_palette_slots(KernelSlots& slots);       ///< palettized weights
void avx2_float_matmul_slots(KernelSlots& slots);  ///< F32, F16 and BF16 weights
void avx2_attention_slots(KernelSlots& slots);
void avx2_cache_slots(KernelSlots& slots);  ///< store_kv
void avx2_row_slots(KernelSlots& slots);    ///< norm, rotation, activation function
void avx2_train_slots(KernelSlots& slots);
void avx2_probe_slots(KernelSlots& slots);  ///< read_sum and peak

}  // namespace tw::kernels
