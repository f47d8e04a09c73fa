// Rows in the form that products with a weight want them in.
#pragma once

#include <cstdint>

#include "ops/exec.h"

namespace tw::ops {

/// Activations in the form a matmul path wants: the rows of one phase.
struct PreparedRows {
  std::int64_t begin = 0, rows = 0;
  const void* data = nullptr;
  const kernels::MatmulPath* path = nullptr;  ///< whose form they have; null: there are no rows
};
/// Rows [0, generated) as the decode path wants them, the others as the prefill path does.
struct Prepared {
  PreparedRows generated, prompt;
};

/// What an op with linear layers takes: rows [T, K], or what its products take alone (rms_norm_for).
struct Input {
  Input(Tensor rows) : x(rows) {}
  Input(Shape shape, const Prepared& made) : x{DType::kF32, shape, nullptr}, prepared(made), alone(true) {}
  Tensor x;
  Prepared prepared;
  bool alone = false;  ///< there is `prepared`, and x has a shape and no data
};

}  // namespace tw::ops
