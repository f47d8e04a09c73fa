// The rules of the table of optimizers. For src/train/optimizer*.cc alone.
#pragma once

#include "train/optimizer.h"

namespace tw::train {

/// Most numbers whose squares are summed up by one call of the kernel.
inline constexpr std::int64_t kSquareChunk = 65536;

/// AdamW with decoupled decay (arXiv 1711.05101), as torch.optim.AdamW computes it, in one pass.
void adamw_update(const OptimizerStep& step, const OptimizerParam& p);

/// Muon (kellerjordan.github.io/posts/muon): the momentum of a layer's matrix made all but orthogonal by five
/// Newton-Schulz iterations, its rate matched to AdamW's (arXiv 2502.16982), as torch.optim.Muon with
/// adjust_lr_fn "match_rms_adamw". Embeddings, head and vectors: adamw_update.
void muon_update(const OptimizerStep& step, const OptimizerParam& p);

/// Adafactor (arXiv 1804.04235), as torch.optim.Adafactor: squares of a matrix's gradients are kept by row
/// and by column alone, and the rate is relative to the weights.
void adafactor_update(const OptimizerStep& step, const OptimizerParam& p);

/// RMSProp with momentum of the updates, as Apple's foundation models were learnt (arXiv 2407.21075, section
/// 3.2.1; `adastar_learner_config` of AXLearn): g / sqrt(bias-corrected mean of g²) of a parameter, divided
/// by its root mean square where that is above 1, goes into a mean without bias correction.
void rmsprop_update(const OptimizerStep& step, const OptimizerParam& p);

}  // namespace tw::train
