// The AMX set: what tile instructions add to the AVX-512 set with VNNI. All needs AVX-512 (F, BW, VL, DQ,
// VNNI, BF16), GFNI, AMX_TILE, AMX_BF16 and AMX_INT8, and the system's leave to use tiles (detect_features
// asks for it).
#pragma once

#include "kernels/args.h"

namespace tw::kernels {

void amx_prefill_slots(KernelSlots& slots);       ///< prompts times quantized weights, by bf16 tiles
void amx_int8_prefill_slots(KernelSlots& slots);  ///< the same, rounded to bytes
void amx_decode_slots(KernelSlots& slots);        ///< generated tokens times quantized weights, by byte tiles
void amx_attention_slots(KernelSlots& slots);     ///< attention of prompts, by bf16 tiles
void amx_train_slots(KernelSlots& slots);         ///< weights that are learnt, by bf16 tiles
void amx_frozen_slots(KernelSlots& slots);        ///< gradients through weights that are not
void amx_attention_backward_slots(KernelSlots& slots);  ///< attention's gradients, by bf16 tiles
void amx_probe_slots(KernelSlots& slots);               ///< peak

}  // namespace tw::kernels
