#include "kernels/ref/dequantize.h"

#include <cstring>

#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

using base::DType;
using Bytes = const std::uint8_t*;

float load_half(Bytes at) {
  std::uint16_t half;
  std::memcpy(&half, at, sizeof half);
  return half_to_float(half);
}

std::uint32_t load_u32(Bytes at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Simple blocks: 32 values with one scale. Value i of the first half shares its byte with value i + 16: low
// bits and high bits.

void block_q8_0(Bytes block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * scale;
}

void block_q4_0(Bytes block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((block[2 + i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void block_q4_1(Bytes block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(block[4 + i] & 15) + minimum;
    out[i + 16] = scale * static_cast<float>(block[4 + i] >> 4) + minimum;
  }
}

/// The five-bit number of value i: four bits from `low`, the fifth from bit i of `high`.
int five_bits(Bytes low, std::uint32_t high, int i) {
  const int nibble = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
  return nibble | static_cast<int>(high >> i & 1U) << 4;
}

void block_q5_0(Bytes block, float* out) {
  const float scale = load_half(block);
  const std::uint32_t high = load_u32(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(five_bits(block + 6, high, i) - 16);
}

void block_q5_1(Bytes block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const std::uint32_t high = load_u32(block + 4);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(five_bits(block + 8, high, i)) + minimum;
}

// Super-blocks: 256 values in groups of 16 or 32, each group with a small integer scale of its own.

/// 16 bytes of (scale, minimum) nibbles; 64 bytes of 2-bit values; fp16 scale; fp16 minimum.
void block_q2_k(Bytes block, float* out) {
  const float scale = load_half(block + 80);
  const float minimum = load_half(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float group_scale = scale * static_cast<float>(block[group] & 15);
    const float group_minimum = minimum * static_cast<float>(block[group] >> 4);
    Bytes bits = block + 16 + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      out[group * 16 + i] = group_scale * static_cast<float>(bits[i] >> shift & 3) - group_minimum;
    }
  }
}

/// The 6-bit scale of group g of a Q3_K block: four low bits in bytes 0-7, two high bits in bytes 8-11;
/// less 32.
int scale_q3_k(Bytes packed, int g) {
  const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
  const int high = packed[8 + g % 4] >> (g / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

/// 32 bytes with the third bit of each value; 64 bytes of 2-bit values; 12 bytes of scales; fp16 scale.
void block_q3_k(Bytes block, float* out) {
  const float scale = load_half(block + 108);
  for (int group = 0; group < 16; ++group) {
    const float group_scale = scale * static_cast<float>(scale_q3_k(block + 96, group));
    Bytes high = block + group % 2 * 16;
    Bytes low = block + 32 + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      const int offset = (high[i] >> (group / 2) & 1) != 0 ? 0 : 4;
      out[group * 16 + i] = group_scale * static_cast<float>((low[i] >> shift & 3) - offset);
    }
  }
}

struct ScaleAndMinimum {
  float scale, minimum;
};

/// Group g of the 8 of a Q4_K or Q5_K block, times the block's two fp16 scales at its start. The 6-bit
/// numbers lie packed in bytes 4-15: groups 0-3 in the low six bits of bytes 0-3 (scale) and 4-7 (minimum),
/// groups 4-7 in the nibbles of bytes 8-11, with their upper two bits on top of the former.
ScaleAndMinimum group_q4_k(Bytes block, int g) {
  Bytes packed = block + 4;
  int scale = packed[g % 4] & 63;
  int minimum = packed[4 + g % 4] & 63;
  if (g >= 4) {
    scale = (packed[4 + g] & 15) | packed[g - 4] >> 6 << 4;
    minimum = packed[4 + g] >> 4 | packed[g] >> 6 << 4;
  }
  return {load_half(block) * static_cast<float>(scale), load_half(block + 2) * static_cast<float>(minimum)};
}

/// fp16 scale, fp16 minimum, 12 bytes of group scales, 128 bytes of nibbles.
void block_q4_k(Bytes block, float* out) {
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = group_q4_k(block, group);
    Bytes bits = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      out[group * 32 + i] = scale * static_cast<float>(bits[i] >> shift & 15) - minimum;
    }
  }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles.
void block_q5_k(Bytes block, float* out) {
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = group_q4_k(block, group);
    Bytes high = block + 16;
    Bytes low = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int value = (low[i] >> shift & 15) | (high[i] >> group & 1) << 4;
      out[group * 32 + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

/// 128 bytes of nibbles, 64 bytes of upper two bits, 16 signed group scales, fp16 scale.
void block_q6_k(Bytes block, float* out) {
  const float scale = load_half(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, in_half = i % 128;
    const int low = block[half * 64 + in_half % 64] >> (in_half / 64 * 4) & 15;
    const int high = block[128 + half * 32 + in_half % 32] >> (in_half / 32 * 2) & 3;
    const float group_scale = scale * static_cast<float>(static_cast<std::int8_t>(block[192 + i / 16]));
    out[i] = group_scale * static_cast<float>((low | high << 4) - 32);
  }
}

template <int kBlockValues, int kBlockBytes, void (*decode)(Bytes, float*)>
void decode_blocks(Bytes row, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n / kBlockValues; ++i) decode(row + i * kBlockBytes, out + i * kBlockValues);
}

/// The first value of a byte in its low bits.
template <int kBits>
void decode_palette(Bytes row, Bytes palette, float* out, std::int64_t n) {
  constexpr int kEntries = 1 << kBits, kInAByte = 8 / kBits;
  float table[kEntries];
  for (int i = 0; i < kEntries; ++i) table[i] = load_half(palette + 2 * i);
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = table[row[i / kInAByte] >> (i % kInAByte * kBits) & (kEntries - 1)];
}

template <float (*decode)(std::uint16_t)>
void decode_16_bit(Bytes row, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t value;
    std::memcpy(&value, row + 2 * i, sizeof value);
    out[i] = decode(value);
  }
}

}  // namespace

const void* palette_of_row(DType type, const void* palettes, std::int64_t row) {
  const int bits = base::palette_bits(type);
  if (bits == 0) return nullptr;
  return static_cast<Bytes>(palettes) + row / base::kPaletteRows * (2 << bits);
}

void dequantize_row(DType type, const void* row, float* out, std::int64_t n, const void* palette) {
  const auto bytes = static_cast<Bytes>(row);
  switch (type) {
    case DType::kF32:
      std::memcpy(out, row, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      return decode_16_bit<half_to_float>(bytes, out, n);
    case DType::kBF16:
      return decode_16_bit<bfloat16_to_float>(bytes, out, n);
    case DType::kQ4_0:
      return decode_blocks<32, 18, block_q4_0>(bytes, out, n);
    case DType::kQ4_1:
      return decode_blocks<32, 20, block_q4_1>(bytes, out, n);
    case DType::kQ5_0:
      return decode_blocks<32, 22, block_q5_0>(bytes, out, n);
    case DType::kQ5_1:
      return decode_blocks<32, 24, block_q5_1>(bytes, out, n);
    case DType::kQ8_0:
      return decode_blocks<32, 34, block_q8_0>(bytes, out, n);
    case DType::kQ2_K:
      return decode_blocks<256, 84, block_q2_k>(bytes, out, n);
    case DType::kQ3_K:
      return decode_blocks<256, 110, block_q3_k>(bytes, out, n);
    case DType::kQ4_K:
      return decode_blocks<256, 144, block_q4_k>(bytes, out, n);
    case DType::kQ5_K:
      return decode_blocks<256, 176, block_q5_k>(bytes, out, n);
    case DType::kQ6_K:
      return decode_blocks<256, 210, block_q6_k>(bytes, out, n);
    case DType::kPalette4:
      return decode_palette<4>(bytes, static_cast<Bytes>(palette), out, n);
    case DType::kPalette2:
      return decode_palette<2>(bytes, static_cast<Bytes>(palette), out, n);
    case DType::kI8:
    case DType::kI32:
    case DType::kI64:
      std::memset(out, 0, static_cast<std::size_t>(n) * sizeof(float));
      return;
  }
}

}  // namespace tw::kernels
