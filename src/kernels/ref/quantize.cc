#include <cmath>
#include <cstring>

#include "kernels/ref/dequantize.h"
#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

using base::DType;

constexpr int kBlock = 32;

void store_half(float value, std::uint8_t* at) {
  const std::uint16_t half = float_to_half(value);
  std::memcpy(at, &half, sizeof half);
}

/// 1 / scale, or 0 when that is no finite number: a block too small to tell from zeros.
float inverse(float scale) {
  const float out = 1.0F / scale;
  return std::isfinite(out) ? out : 0.0F;
}

std::uint8_t to_nibble(float value) {
  return static_cast<std::uint8_t>(value < 0.0F ? 0.0F : value > 15.0F ? 15.0F : value);
}

void pack_nibbles(const float* values, std::uint8_t* out) {
  for (int i = 0; i < kBlock / 2; ++i) {
    out[i] = static_cast<std::uint8_t>(to_nibble(values[i]) | to_nibble(values[i + kBlock / 2]) << 4);
  }
}

void block_q8_0(const float* in, std::uint8_t* out) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i) largest = std::fmax(largest, std::fabs(in[i]));
  const float scale = largest / 127.0F;
  const float factor = inverse(scale);
  store_half(scale, out);
  for (int i = 0; i < kBlock; ++i) {
    out[2 + i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::round(in[i] * factor)));
  }
}

/// The value of largest magnitude becomes -8: its sign is part of the scale.
void block_q4_0(const float* in, std::uint8_t* out) {
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) {
    if (std::fabs(in[i]) > std::fabs(extreme)) extreme = in[i];
  }
  const float scale = extreme / -8.0F;
  const float factor = inverse(scale);
  float steps[kBlock];
  for (int i = 0; i < kBlock; ++i) steps[i] = in[i] * factor + 8.5F;
  store_half(scale, out);
  pack_nibbles(steps, out + 2);
}

void block_q4_1(const float* in, std::uint8_t* out) {
  float smallest = in[0], largest = in[0];
  for (int i = 1; i < kBlock; ++i) {
    if (in[i] < smallest) smallest = in[i];
    if (in[i] > largest) largest = in[i];
  }
  const float scale = (largest - smallest) / 15.0F;
  const float factor = inverse(scale);
  float steps[kBlock];
  for (int i = 0; i < kBlock; ++i) steps[i] = (in[i] - smallest) * factor + 0.5F;
  store_half(scale, out);
  store_half(smallest, out + 2);
  pack_nibbles(steps, out + 4);
}

template <int kBlockBytes, void (*encode)(const float*, std::uint8_t*)>
void encode_blocks(const float* in, std::uint8_t* row, std::int64_t n) {
  for (std::int64_t i = 0; i < n / kBlock; ++i) encode(in + i * kBlock, row + i * kBlockBytes);
}

template <std::uint16_t (*encode)(float)>
void encode_16_bit(const float* in, std::uint8_t* row, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t value = encode(in[i]);
    std::memcpy(row + 2 * i, &value, sizeof value);
  }
}

}  // namespace

bool quantize_row(DType type, const float* in, void* row, std::int64_t n) {
  const auto out = static_cast<std::uint8_t*>(row);
  switch (type) {
    case DType::kF32:
      std::memcpy(row, in, static_cast<std::size_t>(n) * sizeof(float));
      return true;
    case DType::kF16:
      encode_16_bit<float_to_half>(in, out, n);
      return true;
    case DType::kBF16:
      encode_16_bit<float_to_bfloat16>(in, out, n);
      return true;
    case DType::kQ8_0:
      encode_blocks<34, block_q8_0>(in, out, n);
      return true;
    case DType::kQ4_0:
      encode_blocks<18, block_q4_0>(in, out, n);
      return true;
    case DType::kQ4_1:
      encode_blocks<20, block_q4_1>(in, out, n);
      return true;
    default:
      return false;
  }
}

}  // namespace tw::kernels
