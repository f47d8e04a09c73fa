// What the forward of a mixture of experts leaves for its gradients. For src/ops alone.
#pragma once

#include "ops/ops.h"
#include "ops/routing.h"

namespace tw::ops {

struct SavedExperts {
  Tensor x;            ///< [T, D]
  Tensor logits = {};  ///< the router's: [T, experts]
  Tensor gates = {};   ///< products: [T * chosen, F]
  Tensor ups = {};     ///< as gates
  Tensor made = {};    ///< by the experts: [T * chosen, D]
  Routing routing = {};
  ExpertWeights weights;
};

/// Of moe_ffn, whose inputs are the residual and x. What the forward left becomes gradients in place.
void experts_backward(const Backward& b, const SavedExperts& s);

}  // namespace tw::ops
