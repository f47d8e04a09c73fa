// The types with super-blocks: groups whose scales are themselves small whole numbers times one fp16 scale.
// The groups are fitted each alone; then their whole numbers are chosen together with the block's scales, in
// turns.
#include "kernels/ref/quantize_super.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

constexpr int kValues = 256;
constexpr int kMostGroups = 16;
constexpr int kRounds = 3;

void store(std::uint16_t half, std::uint8_t* at) {
  std::memcpy(at, &half, sizeof half);
}

/// How a type cuts its 256 values: numbers q from low to high in groups of `size`, whole scales from
/// scale_low to scale_high. With a minimum: x = d * scale * q - d_minimum * minimum; else x = d * scale * q.
struct Shape {
  int size, low, high, scale_low, scale_high;
  bool minimum;
  int groups() const { return kValues / size; }
};

struct Chosen {
  std::uint16_t d = 0, d_minimum = 0;  ///< fp16
  int scale[kMostGroups] = {}, minimum[kMostGroups] = {};
  float error = 0;
};

Group group_of(const Group& block, const Shape& shape, int g) {
  return {block.x + g * shape.size, block.w + g * shape.size, shape.size};
}

int whole(float value, float unit, int low, int high) {
  const float ratio = unit == 0 ? 0 : value / unit;
  return static_cast<int>(rounded(clamped(ratio, static_cast<float>(low), static_cast<float>(high))));
}

/// The whole numbers of each group under the block's scales: the nearest, or a neighbour if that is better.
void choose_groups(const Group& block, const Shape& shape, const ScaleAndOffset* fits, Chosen& chosen) {
  const float d = half_to_float(chosen.d), d_minimum = half_to_float(chosen.d_minimum);
  chosen.error = 0;
  for (int g = 0; g < shape.groups(); ++g) {
    const Group group = group_of(block, shape, g);
    const int scale = whole(fits[g].scale, d, shape.scale_low, shape.scale_high);
    const int minimum = shape.minimum ? whole(-fits[g].offset, d_minimum, 0, shape.scale_high) : 0;
    float least = INFINITY;
    for (int s = std::max(scale - 1, shape.scale_low); s <= std::min(scale + 1, shape.scale_high); ++s) {
      for (int m = std::max(minimum - 1, 0); m <= std::min(minimum + 1, shape.minimum ? shape.scale_high : 0);
           ++m) {
        const float error = group_error(group, d * static_cast<float>(s), -d_minimum * static_cast<float>(m),
                                        shape.low, shape.high);
        if (error >= least) continue;
        least = error;
        chosen.scale[g] = s;
        chosen.minimum[g] = m;
      }
    }
    chosen.error += least;
  }
}

/// The block's two scales that are best for the numbers as they are, by least squares.
ScaleAndOffset best_scales(const Group& block, const Shape& shape, const Chosen& chosen) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  for (int g = 0; g < shape.groups(); ++g) {
    const Group group = group_of(block, shape, g);
    std::uint8_t q[32];
    const float d = half_to_float(chosen.d), d_minimum = half_to_float(chosen.d_minimum);
    encode_group(group, d * static_cast<float>(chosen.scale[g]),
                 -d_minimum * static_cast<float>(chosen.minimum[g]), shape.low, shape.high, q);
    const double b = -chosen.minimum[g];
    for (int i = 0; i < group.n; ++i) {
      const double a = static_cast<double>(chosen.scale[g]) * (q[i] + shape.low), w = group.w[i];
      aa += w * a * a;
      ab += w * a * b;
      bb += w * b * b;
      xa += w * a * group.x[i];
      xb += w * b * group.x[i];
    }
  }
  const double determinant = aa * bb - ab * ab;
  if (aa <= 0) return {};
  if (!shape.minimum || bb <= 0 || determinant <= 1e-9 * aa * bb) return {static_cast<float>(xa / aa), 0};
  return {static_cast<float>((bb * xa - ab * xb) / determinant),
          static_cast<float>((aa * xb - ab * xa) / determinant)};
}

/// The scale of which the group that needs the largest takes the last whole number.
float first_scale(const ScaleAndOffset* fits, const Shape& shape) {
  float extreme = 0;
  for (int g = 0; g < shape.groups(); ++g) {
    if (std::fabs(fits[g].scale) > std::fabs(extreme)) extreme = fits[g].scale;
  }
  // Scales of both signs: there is one more number on the negative side.
  return extreme / static_cast<float>(shape.scale_low < 0 ? shape.scale_low : shape.scale_high);
}

Chosen choose(const Group& block, const Shape& shape) {
  ScaleAndOffset fits[kMostGroups];
  float deepest = 0;
  for (int g = 0; g < shape.groups(); ++g) {
    const Group group = group_of(block, shape, g);
    fits[g] = shape.minimum ? fit_scale_and_offset(group, shape.high, true)
                            : ScaleAndOffset{fit_scale(group, shape.low, shape.high), 0};
    deepest = std::fmax(deepest, -fits[g].offset);
  }
  Chosen best;
  best.d = scale_to_half(first_scale(fits, shape));
  best.d_minimum = scale_to_half(deepest / static_cast<float>(shape.scale_high));
  choose_groups(block, shape, fits, best);
  for (int round = 0; round < kRounds; ++round) {
    const ScaleAndOffset better = best_scales(block, shape, best);
    if (better.offset < 0) break;  // the type has none below zero
    Chosen next = best;
    next.d = scale_to_half(better.scale);
    if (better.offset > 0) next.d_minimum = scale_to_half(better.offset);
    choose_groups(block, shape, fits, next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}

/// All 256 numbers, counted from `low`.
void numbers_of(const Group& block, const Shape& shape, const Chosen& chosen, std::uint8_t* q) {
  const float d = half_to_float(chosen.d), d_minimum = half_to_float(chosen.d_minimum);
  for (int g = 0; g < shape.groups(); ++g) {
    encode_group(group_of(block, shape, g), d * static_cast<float>(chosen.scale[g]),
                 -d_minimum * static_cast<float>(chosen.minimum[g]), shape.low, shape.high,
                 q + g * shape.size);
  }
}

void block_q2_k(const Group& block, std::uint8_t* out) {
  constexpr Shape kShape{16, 0, 3, 0, 15, true};
  const Chosen chosen = choose(block, kShape);
  std::uint8_t q[kValues];
  numbers_of(block, kShape, chosen, q);
  std::memset(out, 0, 84);
  for (int g = 0; g < 16; ++g) out[g] = static_cast<std::uint8_t>(chosen.scale[g] | chosen.minimum[g] << 4);
  for (int i = 0; i < kValues; ++i)
    out[16 + i / 128 * 32 + i % 32] |= static_cast<std::uint8_t>(q[i] << i / 32 % 4 * 2);
  store(chosen.d, out + 80);
  store(chosen.d_minimum, out + 82);
}

void block_q3_k(const Group& block, std::uint8_t* out) {
  constexpr Shape kShape{16, -4, 3, -32, 31, false};
  const Chosen chosen = choose(block, kShape);
  std::uint8_t q[kValues];
  numbers_of(block, kShape, chosen, q);
  std::memset(out, 0, 110);
  for (int i = 0; i < kValues; ++i) {
    out[i % 32] |= static_cast<std::uint8_t>((q[i] >> 2) << i / 32);
    out[32 + i / 128 * 32 + i % 32] |= static_cast<std::uint8_t>((q[i] & 3) << i / 32 % 4 * 2);
  }
  for (int g = 0; g < 16; ++g) {
    const int scale = chosen.scale[g] + 32;
    out[96 + g % 8] |= static_cast<std::uint8_t>((scale & 15) << g / 8 * 4);
    out[104 + g % 4] |= static_cast<std::uint8_t>((scale >> 4) << g / 4 * 2);
  }
  store(chosen.d, out + 108);
}

/// The 6-bit scales and minima of 8 groups in 12 bytes, as Q4_K and Q5_K have them.
void pack_scales(const Chosen& chosen, std::uint8_t* out) {
  for (int g = 0; g < 4; ++g) {
    const int scale = chosen.scale[g + 4], minimum = chosen.minimum[g + 4];
    out[g] = static_cast<std::uint8_t>(chosen.scale[g] | scale >> 4 << 6);
    out[4 + g] = static_cast<std::uint8_t>(chosen.minimum[g] | minimum >> 4 << 6);
    out[8 + g] = static_cast<std::uint8_t>((scale & 15) | (minimum & 15) << 4);
  }
}

template <int kBits>
void block_q45_k(const Group& block, std::uint8_t* out) {
  constexpr Shape kShape{32, 0, (1 << kBits) - 1, 0, 63, true};
  const Chosen chosen = choose(block, kShape);
  std::uint8_t q[kValues];
  numbers_of(block, kShape, chosen, q);
  store(chosen.d, out);
  store(chosen.d_minimum, out + 2);
  pack_scales(chosen, out + 4);
  std::uint8_t* high = out + 16;
  std::uint8_t* low = kBits == 5 ? high + 32 : high;
  std::memset(high, 0, kBits == 5 ? 160 : 128);
  for (int i = 0; i < kValues; ++i) {
    low[i / 64 * 32 + i % 32] |= static_cast<std::uint8_t>((q[i] & 15) << i / 32 % 2 * 4);
    if (kBits == 5) high[i % 32] |= static_cast<std::uint8_t>((q[i] >> 4) << i / 32);
  }
}

void block_q6_k(const Group& block, std::uint8_t* out) {
  constexpr Shape kShape{16, -32, 31, -128, 127, false};
  const Chosen chosen = choose(block, kShape);
  std::uint8_t q[kValues];
  numbers_of(block, kShape, chosen, q);
  std::memset(out, 0, 210);
  for (int i = 0; i < kValues; ++i) {
    const int half = i / 128, in_half = i % 128;
    out[half * 64 + in_half % 64] |= static_cast<std::uint8_t>((q[i] & 15) << in_half / 64 * 4);
    out[128 + half * 32 + in_half % 32] |= static_cast<std::uint8_t>((q[i] >> 4) << in_half / 32 * 2);
  }
  for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<std::uint8_t>(chosen.scale[g]);
  store(chosen.d, out + 208);
}

}  // namespace

void (*super_block_encoder(base::DType type))(const Group&, std::uint8_t*) {
  switch (type) {
    case base::DType::kQ2_K:
      return block_q2_k;
    case base::DType::kQ3_K:
      return block_q3_k;
    case base::DType::kQ4_K:
      return block_q45_k<4>;
    case base::DType::kQ5_K:
      return block_q45_k<5>;
    case base::DType::kQ6_K:
      return block_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace tw::kernels
