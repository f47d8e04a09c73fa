#include <cmath>
#include <cstring>

#include "kernels/ref/float16.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {

void ref_rms_norm(const RmsNormArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float* x = a.x + t * a.stride;
    float* out = a.out + t * a.stride;
    double squares = 0;
    for (std::int64_t i = 0; i < a.width; ++i) squares += static_cast<double>(x[i]) * x[i];
    const float scale = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(a.width) + a.epsilon));
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

void ref_store_kv(const StoreKvArgs& a) {
  const std::int64_t d = a.kv.head_dim;
  const auto store = [&](void* base, std::int64_t at, const float* source) {
    if (a.kv.type == DType::kF32) {
      std::memcpy(static_cast<float*>(base) + at, source, d * sizeof(float));
    } else {
      auto* out = static_cast<std::uint16_t*>(base) + at;
      for (std::int64_t i = 0; i < d; ++i) out[i] = float_to_half(source[i]);
    }
  };
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t position = a.positions[t];
    const std::int64_t block = a.blocks[t][position / a.kv.block_tokens];
    for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
      const std::int64_t at = ((block * a.kv.kv_heads + h) * a.kv.block_tokens + position % a.kv.block_tokens) * d;
      store(a.kv.keys, at, a.keys + t * a.stride + h * d);
      store(a.kv.values, at, a.values + t * a.stride + h * d);
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
