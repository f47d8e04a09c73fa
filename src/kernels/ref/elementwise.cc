#include <algorithm>
#include <cmath>

#include "kernels/ref/float16.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {

void ref_rms_norm(const RmsNormArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.stride;
    float* out = a.out + t * a.stride;
    double squares = 0;
    for (std::int64_t i = 0; i < a.width; ++i) squares += static_cast<double>(x[i]) * x[i];
    const float scale =
        static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(a.width) + a.epsilon));
    for (std::int64_t i = 0; i < a.width; ++i) out[i] = x[i] * scale * a.weight[i];
  }
}

void ref_rope(const RopeArgs& a) {
  const std::int64_t half = a.head_dim / 2;
  const std::int64_t step = a.interleaved ? 2 : 1, offset = a.interleaved ? 1 : half;
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      float* x = a.x + t * a.stride + h * a.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const float c = a.cos[t * half + i], s = a.sin[t * half + i];
        const float even = x[i * step], odd = x[i * step + offset];
        x[i * step] = even * c - odd * s;
        x[i * step + offset] = even * s + odd * c;
      }
    }
  }
}

namespace {

void store_element(void* base, DType type, std::int64_t at, float value) {
  if (type == DType::kF32) {
    static_cast<float*>(base)[at] = value;
  } else {
    static_cast<std::uint16_t*>(base)[at] = float_to_half(std::min(std::max(value, -65504.0F), 65504.0F));
  }
}

}  // namespace

void ref_store_kv(const StoreKvArgs& a) {
  const std::int64_t d = a.kv.head_dim, tokens = a.kv.block_tokens;
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t place = a.positions[t] % tokens;
    const std::int64_t block = a.blocks[t][a.positions[t] / tokens];
    for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
      const std::int64_t base = (block * a.kv.kv_heads + h) * tokens * d;
      for (std::int64_t i = 0; i < d; ++i) {
        store_element(a.kv.keys, a.kv.type, base + i * tokens + place, a.keys[t * a.stride + h * d + i]);
        store_element(a.kv.values, a.kv.type, base + place * d + i, a.values[t * a.stride + h * d + i]);
      }
    }
  }
}

void ref_silu_mul(const SiluMulArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    for (std::int64_t i = a.column_begin; i < a.column_end; ++i) {
      const float gate = a.gate[t * a.stride + i];
      a.out[t * a.stride + i] = gate / (1.0F + std::exp(-gate)) * a.up[t * a.stride + i];
    }
  }
}

}  // namespace tw::kernels
