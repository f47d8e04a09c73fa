// The half of `calibrate` that training is planned with.
#pragma once

#include <functional>

#include "plan/machine.h"
#include "plan/op_bench.h"

namespace tw::plan {

/// The type that weights are multiplied in when they are learnt and nobody asks for another: bf16 where the
/// kernels have a way of their own for prompts in it, else fp32 (train::product_type).
base::DType train_type(const kernels::Table& table);

/// Measures with the bench's workers and adds to `out`; `quick` leaves out what is large.
base::Status calibrate_training(OpBench& bench, bool quick, MachineCurves& out);

}  // namespace tw::plan
