// The gated feed-forward layer as other ops take it for a part. For src/ops alone.
#pragma once

#include "ops/ops.h"

namespace tw::ops {

/// gated_ffn, by weights' references, without its costs. An empty residual adds nothing.
void run_gated_ffn(Exec& ex, const Input& x, const PackedMatrix& gate, const PackedMatrix& up,
                   const PackedMatrix& down, std::int64_t generated, Tensor residual, Tensor out,
                   const Adapters& adapters);

/// The costs of its products, and of what lies between them.
void record_gated_ffn(Exec& ex, const char* name, std::int64_t rows, const PackedMatrix& gate,
                      const PackedMatrix& up, const PackedMatrix& down);

}  // namespace tw::ops
