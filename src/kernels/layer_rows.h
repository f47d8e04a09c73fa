// LayerNorm and GELU, forwards and backwards, for any vector width: V as in train_rows.h. Everything is
// internal to the including file. The bits of a row, or of an element, do not depend on the slice.
#pragma once

#include <cstdint>

#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

struct RowMoments {
  float mean, inverse;  ///< 1 / sqrt(variance + epsilon)
};

/// In two passes: the squares of what is left without the mean.
template <typename V>
RowMoments moments(const float* x, std::int64_t n, float epsilon) {
  typename V::Floats sum = V::all(0);
  for_vectors<V>(0, n, [&](std::int64_t i, std::int64_t lanes) { sum = V::add(sum, V::load(x + i, lanes)); });
  const float mean = V::sum_of(sum) / static_cast<float>(n);
  typename V::Floats squares = V::all(0);
  for_vectors<V>(0, n, [&](std::int64_t i, std::int64_t lanes) {
    const typename V::Floats d = V::sub(V::load_or(x + i, lanes, mean), V::all(mean));
    squares = V::fma(d, d, squares);
  });
  return {mean, 1.0F / __builtin_sqrtf(V::sum_of(squares) / static_cast<float>(n) + epsilon)};
}

template <typename V>
void layer_norm(const LayerNormArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.width;
    float* out = a.out + t * a.width;
    const RowMoments m = moments<V>(x, a.width, a.epsilon);
    const typename V::Floats mean = V::all(m.mean), inverse = V::all(m.inverse);
    for_vectors<V>(0, a.width, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats unit = V::mul(V::sub(V::load(x + i, lanes), mean), inverse);
      V::store(out + i, V::fma(unit, V::load(a.weight + i, lanes), V::load(a.bias + i, lanes)), lanes);
    });
  }
}

template <typename V>
void layer_norm_backward(const LayerNormBackwardArgs& a) {
  const auto width = static_cast<float>(a.width);
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float *x = a.x + t * a.width, *dy = a.d_out + t * a.width;
    float *dx = a.d_x + t * a.width, *units = a.units + t * a.width;
    const RowMoments m = moments<V>(x, a.width, a.epsilon);
    const typename V::Floats mean = V::all(m.mean), inverse = V::all(m.inverse);
    typename V::Floats sum = V::all(0), products = V::all(0);
    for_vectors<V>(0, a.width, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats unit = V::mul(V::sub(V::load(x + i, lanes), mean), inverse);
      const typename V::Floats g = V::mul(V::load(dy + i, lanes), V::load(a.weight + i, lanes));
      V::store(units + i, unit, lanes);
      sum = V::add(sum, g);
      products = V::fma(g, unit, products);
    });
    const typename V::Floats all = V::all(V::sum_of(sum) / width),
                             back = V::all(-V::sum_of(products) / width);
    for_vectors<V>(0, a.width, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats g = V::mul(V::load(dy + i, lanes), V::load(a.weight + i, lanes));
      const typename V::Floats d = V::fma(V::load(units + i, lanes), back, V::sub(g, all));
      const typename V::Floats old = a.add ? V::load(dx + i, lanes) : V::all(0);
      V::store(dx + i, V::fma(d, inverse, old), lanes);
    });
  }
}

/// The tanh form is x * sigmoid(2 u) with u = sqrt(2 / pi) * (x + 0.044715 x³).
inline constexpr float kTwoRoots = 1.5957691216F, kCubic = 0.044715F;

template <typename V>
typename V::Floats gelu_gate(typename V::Floats x) {
  const typename V::Floats cubic = V::fma(V::mul(x, x), V::all(kCubic), V::all(1));
  const typename V::Floats twice = V::mul(V::mul(x, cubic), V::all(kTwoRoots));
  return V::div(V::all(1), V::add(V::all(1), V::exp(V::sub(V::all(0), twice))));
}

template <typename V>
void gelu(const GeluArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t row = t * a.stride;
    for_vectors<V>(a.column_begin, a.column_end, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats x = V::load(a.x + row + i, lanes);
      V::store(a.out + row + i, V::mul(x, gelu_gate<V>(x)), lanes);
    });
  }
}

/// With s the gate, the slope is s + x s (1 - s) * 2 u', 2 u' = kTwoRoots * (1 + 3 kCubic x²).
template <typename V>
void gelu_backward(const GeluBackwardArgs& a) {
  for_vectors<V>(a.begin, a.end, [&](std::int64_t i, std::int64_t lanes) {
    const typename V::Floats x = V::load(a.x + i, lanes), d = V::load(a.out + i, lanes), one = V::all(1);
    const typename V::Floats gate = gelu_gate<V>(x), value = V::mul(x, gate);
    const typename V::Floats inner = V::fma(V::mul(x, x), V::all(3 * kCubic * kTwoRoots), V::all(kTwoRoots));
    const typename V::Floats slope = V::fma(V::mul(value, V::sub(one, gate)), inner, gate);
    V::store(a.x + i, V::mul(d, slope), lanes);
    V::store(a.out + i, value, lanes);
  });
}

template <typename V>
void fill_layer_slots(KernelSlots& slots) {
  slots.layer_norm = layer_norm<V>;
  slots.gelu = gelu<V>;
  slots.train.layer_norm_backward = layer_norm_backward<V>;
  slots.train.gelu_backward = gelu_backward<V>;
}

}  // namespace
}  // namespace tw::kernels
