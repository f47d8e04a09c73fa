// Gated feed-forward layers that are learnt in bf16 tiles: what lies between the products is rounded, and is
// made and kept as sides of the next ones.
#pragma once

#include "ops/exec.h"
#include "tensor/packed_matrix.h"

namespace tw::ops {

/// Whether a layer's three weights are such. REQUIRES: there is a tape.
bool rounds_ffn(const Exec& ex, const tensor::PackedMatrix& gate, const tensor::PackedMatrix& up,
                const tensor::PackedMatrix& down);
/// out [T, D] = residual [T, D] + down(silu(gate x) * up x) of x [T, D], without adapters, on the tape;
/// residual may have no data. Gates and ups stay in the arena, 4 bytes for each of T x F, and its backward
/// writes over them. The weights must outlive the tape.
void train_rounded_ffn(Exec& ex, Tensor x, const tensor::PackedMatrix& gate, const tensor::PackedMatrix& up,
                       const tensor::PackedMatrix& down, Tensor residual, Tensor out);

}  // namespace tw::ops
