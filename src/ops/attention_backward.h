// For src/ops alone.
#pragma once

#include "ops/ops.h"

namespace tw::ops {

/// Leaves on the tape, if there is one, what attention's gradients need. `log_sums`: [T, heads], of
/// kernels::AttentionArgs.
void record_attention(Exec& ex, const Qkv& qkv, Tensor out, Tensor log_sums, const AttentionShape& shape,
                      const AttentionPlace& place, std::uint32_t site);

}  // namespace tw::ops
