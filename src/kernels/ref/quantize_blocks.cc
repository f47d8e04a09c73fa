// The types with blocks of 32 values.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "kernels/ref/float16.h"
#include "kernels/ref/quantize.h"
#include "kernels/ref/quantize_fit.h"
#include "kernels/ref/quantize_super.h"

namespace tw::kernels {
namespace {

using base::DType;

constexpr int kBlock = 32;

void store(std::uint16_t half, std::uint8_t* at) {
  std::memcpy(at, &half, sizeof half);
}

/// Of the scales that fp16 has near the best one, the one with the least error.
std::uint16_t best_half(const Group& g, float scale, int low, int high) {
  const std::uint16_t nearest = scale_to_half(scale);
  std::uint16_t best = nearest;
  float least = group_error(g, half_to_float(nearest), 0, low, high);
  for (const int away : {-1, 1}) {
    const auto other = static_cast<std::uint16_t>(nearest + away);
    if ((other & 0x7FFF) >= 0x7C00 || ((other ^ nearest) & 0x8000) != 0) continue;
    const float error = group_error(g, half_to_float(other), 0, low, high);
    if (error < least) {
      least = error;
      best = other;
    }
  }
  return best;
}

void pack_nibbles(const std::uint8_t* q, std::uint8_t* out) {
  for (int i = 0; i < kBlock / 2; ++i)
    out[i] = static_cast<std::uint8_t>((q[i] & 15) | (q[i + kBlock / 2] & 15) << 4);
}

/// The fifth bits of all values, value i at bit i.
void pack_fifth(const std::uint8_t* q, std::uint8_t* out) {
  std::uint32_t bits = 0;
  for (int i = 0; i < kBlock; ++i) bits |= static_cast<std::uint32_t>(q[i] >> 4) << i;
  std::memcpy(out, &bits, sizeof bits);
}

void block_q8_0(const Group& g, std::uint8_t* out) {
  std::uint8_t q[kBlock];
  const std::uint16_t half = best_half(g, fit_scale(g, -127, 127), -127, 127);
  store(half, out);
  encode_group(g, half_to_float(half), 0, -127, 127, q);
  for (int i = 0; i < kBlock; ++i) out[2 + i] = static_cast<std::uint8_t>(q[i] - 127);
}

template <int kLow>
void block_symmetric(const Group& g, std::uint8_t* out) {
  std::uint8_t q[kBlock];
  constexpr int kHigh = -kLow - 1;
  const std::uint16_t half = best_half(g, fit_scale(g, kLow, kHigh), kLow, kHigh);
  store(half, out);
  encode_group(g, half_to_float(half), 0, kLow, kHigh, q);
  constexpr bool kFive = kLow == -16;
  if (kFive) pack_fifth(q, out + 2);
  pack_nibbles(q, out + (kFive ? 6 : 2));
}

template <int kHigh>
void block_with_minimum(const Group& g, std::uint8_t* out) {
  std::uint8_t q[kBlock];
  const ScaleAndOffset fit = fit_scale_and_offset(g, kHigh, false);
  const std::uint16_t scale = scale_to_half(fit.scale), offset = scale_to_half(fit.offset);
  store(scale, out);
  store(offset, out + 2);
  encode_group(g, half_to_float(scale), half_to_float(offset), 0, kHigh, q);
  constexpr bool kFive = kHigh == 31;
  if (kFive) pack_fifth(q, out + 4);
  pack_nibbles(q, out + (kFive ? 8 : 4));
}

using Encode = void (*)(const Group&, std::uint8_t*);

Encode encoder_of(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return block_q8_0;
    case DType::kQ4_0:
      return block_symmetric<-8>;
    case DType::kQ5_0:
      return block_symmetric<-16>;
    case DType::kQ4_1:
      return block_with_minimum<15>;
    case DType::kQ5_1:
      return block_with_minimum<31>;
    default:
      return super_block_encoder(type);
  }
}

}  // namespace

bool quantize_row_closely(DType type, const float* in, const float* importance, void* row, std::int64_t n) {
  const Encode encode = encoder_of(type);
  if (encode == nullptr) return !base::is_quantized(type) && quantize_row(type, in, row, n);
  const base::DTypeInfo& info = base::dtype_info(type);
  float weights[256];
  std::fill(std::begin(weights), std::end(weights), 1.0F);
  auto* out = static_cast<std::uint8_t*>(row);
  for (std::int64_t at = 0; at < n; at += info.block_elements, out += info.block_bytes) {
    if (importance != nullptr) {
      const float* w = importance + at;
      // Relative weights matter alone; a block that no input ever meets is encoded as well as any.
      const float largest = *std::max_element(w, w + info.block_elements);
      for (int i = 0; i < info.block_elements; ++i) weights[i] = largest > 0 ? w[i] / largest + 1e-6F : 1.0F;
    }
    encode({in + at, weights, info.block_elements}, out);
  }
  return true;
}

}  // namespace tw::kernels
