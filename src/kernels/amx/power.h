// Powers of two for weights of attention. Everything is internal to the including file.
#pragma once

#include <immintrin.h>

namespace tw::kernels {
namespace {

/// What queries are multiplied with, so that their products with keys are powers of two: the forward's and
/// the backward's must be alike to the last bit.
inline __m512 query_factor(float scale) {
  return _mm512_set1_ps(scale * 1.44269504F);
}

/// 2^x; 2^0 is exactly 1, far below 0 it is 0. The polynomial is least in relative error on [0, 1): 9e-5,
/// much less than bf16's 2^-9.
inline __m512 power(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.077067412F), f, _mm512_set1_ps(0.22764459F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69511688F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, x);
}

}  // namespace
}  // namespace tw::kernels
