// How a panel's outputs are written, for all vector widths. Everything is internal to the including file,
// which brings a vector policy V (panel_matmul.h).
#pragma once

#include <cstdint>

#include "kernels/args.h"

namespace tw::kernels {
namespace {

/// Bias and residual, then out: up to kRows columns from n on.
template <typename V>
void store(const MatmulArgs& a, std::int64_t t, std::int64_t n, typename V::Floats sum) {
  alignas(64) float values[V::kRows];
  V::store(values, sum);
  const std::int64_t count = a.n_end - n < V::kRows ? a.n_end - n : V::kRows;
  float* out = a.out + t * a.out_stride + n;
  for (std::int64_t i = 0; i < count; ++i) {
    float y = values[i];
    if (a.bias != nullptr) y += a.bias[n + i];
    if (a.residual != nullptr) y += a.residual[t * a.out_stride + n + i];
    out[i] = y;
  }
}

}  // namespace
}  // namespace tw::kernels
