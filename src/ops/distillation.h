// What a teacher adds to the loss of rows. For src/ops alone.
#pragma once

#include "ops/ops.h"

namespace tw::ops {

/// Logits [count, V] of rows from `begin` on become gradients; the rows' losses are written, the label's to
/// `losses` and the teacher's to rows.teacher.losses. This worker's part; no barrier. Tracing, it only asks
/// for scratch.
void distil(Exec& ex, const LossRows& rows, std::int64_t begin, Tensor logits, float* losses);

}  // namespace tw::ops
