// The reference set: plain C++ in fp32, the oracle of every other set and the fallback of all.
#pragma once

#include "kernels/args.h"

namespace tw::kernels {

/// Complete: every entry is set. Weights are used as they lie in the file (palettized ones, whose tables lie
/// elsewhere, beside them), activations stay fp32.
void ref_slots(const CpuFeatures& features, KernelSlots& slots);

void ref_train_slots(KernelSlots& slots);  ///< TrainSlots, LayerNorm and GELU
void ref_rms_norm(const RmsNormArgs& args);
void ref_rope(const RopeArgs& args);
void ref_store_kv(const StoreKvArgs& args);
void ref_attention(const AttentionArgs& args);
void ref_merge_attention(const AttentionArgs& args);
void ref_silu_mul(const SiluMulArgs& args);
std::uint64_t ref_read_sum(const ReadArgs& args);
PeakResult ref_peak(const PeakArgs& args);
extern const MatmulKernel kRefMatmul;

}  // namespace tw::kernels
