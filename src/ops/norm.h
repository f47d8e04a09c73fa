// Gradients of RMSNorm, for the ops that have it inside. For src/ops alone.
#pragma once

#include "ops/exec.h"

namespace tw::ops {

struct NormGradients {
  Tensor x, d_out;  ///< rows of the weight's width, beside each other
  Tensor d_x;       ///< none: not wanted; must not be d_out's memory
  Tensor weight;    ///< [width]
  float epsilon;
  bool add;  ///< to what is in d_x
};
/// d_x and the weight's gradient; ends with a barrier.
void norm_gradients(const Backward& b, const NormGradients& n);

}  // namespace tw::ops
