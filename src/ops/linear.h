// The pieces that ops with linear layers inside are made of. For src/ops alone.
#pragma once

#include "ops/exec.h"
#include "tensor/packed_matrix.h"

namespace tw::ops {

/// Activations in the form a matmul kernel wants (see MatmulKernel::prepare).
struct Prepared {
  const void* data = nullptr;
  std::int64_t stride = 0;                              ///< bytes from row to row
  void (*form)(const kernels::PrepareArgs&) = nullptr;  ///< what made it; null: fp32 as they are
};

/// Prepares all rows, from the arena; ends with a barrier if there was anything to do.
Prepared prepare(Exec& ex, Tensor x, const tensor::PackedMatrix& weight);

/// `have` if it serves this weight too.
Prepared prepare_again(Exec& ex, Tensor x, const tensor::PackedMatrix& weight, const Prepared& have);

void* matmul_scratch(Exec& ex, const tensor::PackedMatrix& weight);

/// This worker's columns of out [rows, N]. bias and residual may be null. No barrier.
void matmul_slice(Exec& ex, const Prepared& x, std::int64_t rows, const tensor::PackedMatrix& weight,
                  float* out, const float* bias, const float* residual);

OpCost linear_cost(const char* name, std::int64_t rows, const tensor::PackedMatrix& weight);

}  // namespace tw::ops
