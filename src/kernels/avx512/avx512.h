// The AVX-512 set (F, BW, VL, DQ), and the functions that VNNI instructions add to it and to the AVX2 set.
// What is not here is taken from the AVX2 set. `emulated` holds the same code on imitated instructions, for
// tests alone.
#pragma once

#include "kernels/args.h"

namespace tw::kernels {

void avx512_matmul_slots(KernelSlots& slots);         ///< quantized weights
void avx512_palette_slots(KernelSlots& slots);        ///< palettized weights
void avx512_float_matmul_slots(KernelSlots& slots);   ///< F32, F16 and BF16 weights
void avx512_float_product_slots(KernelSlots& slots);  ///< of prompts and gradients
void avx512_attention_slots(KernelSlots& slots);      ///< of prompts and generated tokens
void avx512_train_slots(KernelSlots& slots);          ///< TrainSlots
void avx512_probe_slots(KernelSlots& slots);          ///< read_sum and peak
void avx512vnni_matmul_slots(KernelSlots& slots);     ///< quantized weights, also needs AVX512_VNNI
void avx512vnni_probe_slots(KernelSlots& slots);      ///< peak, also needs AVX512_VNNI
void avxvnni_matmul_slots(
    KernelSlots& slots);  ///< quantized weights on 256 bits; AVX2, FMA, F16C and AVX_VNNI

namespace emulated {
void avx512_matmul_slots(KernelSlots& slots);
void avx512_palette_slots(KernelSlots& slots);
void avx512_float_product_slots(KernelSlots& slots);
void avx512vnni_matmul_slots(KernelSlots& slots);
void avxvnni_matmul_slots(KernelSlots& slots);
}  // namespace emulated

}  // namespace tw::kernels
