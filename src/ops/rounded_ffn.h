// Gated feed-forward layers that are learnt in bf16 tiles: what lies between the products is rounded, and is
// made and kept as sides of the next ones.
#pragma once

#include "ops/exec.h"
#include "tensor/packed_matrix.h"

namespace tw::ops {

/// Whether a layer's three weights are such. REQUIRES: there is a tape.
bool rounds_ffn(const Exec& ex, const tensor::PackedMatrix& gate, const tensor::PackedMatrix& up,
                const tensor::PackedMatrix& down);
/// run_gated_ffn of them, without adapters, on the tape.
void train_rounded_ffn(Exec& ex, Tensor x, const tensor::PackedMatrix& gate, const tensor::PackedMatrix& up,
                       const tensor::PackedMatrix& down, Tensor residual, Tensor out);

}  // namespace tw::ops
