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
  float* out = a.out + t * a.out_stride + n;
  const float* residual = a.residual == nullptr ? nullptr : a.residual + t * a.out_stride + n;
  if (n + V::kRows <= a.n_end) {
    if (a.bias != nullptr) sum = V::plus(sum, V::load_floats(a.bias + n));
    if (residual != nullptr) sum = V::plus(sum, V::load_floats(residual));
    V::store(out, sum);
    return;
  }
  alignas(64) float values[V::kRows];
  V::store(values, sum);
  for (std::int64_t i = 0; i < a.n_end - n; ++i) {
    float y = values[i];
    if (a.bias != nullptr) y += a.bias[n + i];
    if (residual != nullptr) y += residual[i];
    out[i] = y;
  }
}

}  // namespace
}  // namespace tw::kernels
