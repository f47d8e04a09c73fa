#include <algorithm>
#include <cfloat>
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
  } else if (type == DType::kBF16) {
    static_cast<std::uint16_t*>(base)[at] = float_to_bfloat16(value);
  } else {
    static_cast<std::uint16_t*>(base)[at] = float_to_half(std::min(std::max(value, -65504.0F), 65504.0F));
  }
}

/// The largest magnitude of x, at most FLT_MAX, or NaN if there is one.
float largest_magnitude(const float* x, std::int64_t count) {
  std::uint32_t largest = 0;  // magnitudes are ordered as their bits are, with NaN past infinity
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, float_bits(x[i]) & 0x7FFFFFFFU);
  return largest == 0x7F800000U ? FLT_MAX : bits_float(largest);
}

/// Numbers that are `step` apart in a block of kI8; their scale is `place` of the block's.
void store_bytes(std::int8_t* block, const KvLayer& kv, std::int64_t place, std::int64_t first,
                 std::int64_t step, const float* x) {
  const float largest = largest_magnitude(x, kv.head_dim);
  const float inverse = largest >= 1e-30F ? 127.0F / largest : 0;
  for (std::int64_t i = 0; i < kv.head_dim; ++i) {
    const float steps = inverse == 0 ? 0 : std::min(std::max(x[i] * inverse, -127.0F), 127.0F);
    block[first + i * step] = static_cast<std::int8_t>(std::nearbyint(steps));
  }
  auto* scales = reinterpret_cast<float*>(block + kv.block_tokens * kv.head_dim);
  scales[place] = largest < 1e-30F ? 0 : largest / 127.0F;
}

/// A position's numbers, which are `step` apart from element `first` of a head's block on.
void store_row(void* base, const KvLayer& kv, std::int64_t head_block, std::int64_t place, std::int64_t first,
               std::int64_t step, const float* x) {
  const std::int64_t begin = head_block * kv_head_elements(kv.type, kv.head_dim);
  if (kv.type == DType::kI8)
    return store_bytes(static_cast<std::int8_t*>(base) + begin, kv, place, first, step, x);
  for (std::int64_t i = 0; i < kv.head_dim; ++i) store_element(base, kv.type, begin + first + i * step, x[i]);
}

}  // namespace

void ref_store_kv(const StoreKvArgs& a) {
  const std::int64_t d = a.kv.head_dim, tokens = a.kv.block_tokens;
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t place = a.positions[t] % tokens;
    const std::int64_t block = a.blocks[t][a.positions[t] / tokens];
    for (std::int64_t h = 0; h < a.kv.kv_heads; ++h) {
      const std::int64_t head_block = block * a.kv.kv_heads + h, at = t * a.stride + h * d;
      store_row(a.kv.keys, a.kv, head_block, place, place, tokens, a.keys + at);
      store_row(a.kv.values, a.kv, head_block, place, place * d, 1, a.values + at);
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
