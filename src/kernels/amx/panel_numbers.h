// What a block of a panel (panels.h) holds, for whoever makes tiles of it. Everything is internal to the
// including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_tiles.h"
#include "kernels/args.h"
#include "kernels/avx512/vector.h"
#include "kernels/panel_bits.h"
#include "kernels/panels.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

__m512 halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
__m512 signed_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
__m512 bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// value = scale * (stored number) + minimum, of the first and of the second 16 of a block.
struct Scales {
  __m512 scale[2], minimum[2];
};

/// What the numbers that are read are above the weights' own: int8 is read as unsigned, 128 higher.
constexpr int offset_of(PanelFormat f) {
  return f.bits == 8 ? 128 : f.offset;
}

/// Numbers k = 4j .. 4j+3 of each row as unsigned bytes.
template <DType kType, int j>
__m512i number_bytes(const std::uint8_t* p) {
  constexpr PanelFormat f = panel_format(kType);
  if constexpr (f.bits == 8)
    return _mm512_xor_si512(_mm512_loadu_si512(p + 64 * j), _mm512_set1_epi8(-128));
  else
    return numbers<Avx512Vector, f.bits, 0, j>(p);
}

template <DType kType>
Scales load_scales(const std::uint8_t* p, __m512 d, __m512 dmin) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr int kParts = f.halves ? 2 : 1;
  Scales s;
  for (int h = 0; h < 2; ++h) {
    const int part = f.halves ? h : 0;
    s.scale[h] = f.super ? _mm512_mul_ps(d, signed_bytes(p + part * kRows)) : halves(p);
    if constexpr (f.minimums && f.super) {
      s.minimum[h] =
          _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(dmin, bytes(p + (kParts + part) * kRows)));
    } else if constexpr (f.minimums) {
      s.minimum[h] = halves(p + 2 * kRows);
    } else {
      s.minimum[h] = _mm512_mul_ps(s.scale[h], _mm512_set1_ps(-static_cast<float>(offset_of(f))));
    }
  }
  return s;
}

/// A block's scales, and where its numbers begin.
template <DType kType>
Scales scales_of(const std::uint8_t* panel, std::int64_t block) {
  constexpr PanelFormat f = panel_format(kType);
  __m512 d = _mm512_setzero_ps(), dmin = d;
  if constexpr (f.super) {
    const std::uint8_t* header = panel + panel_header_at(f, kRows, block);
    d = halves(header);
    if constexpr (f.minimums) dmin = halves(header + 2 * kRows);
  }
  return load_scales<kType>(panel + panel_block_at(f, kRows, block), d, dmin);
}
template <DType kType>
const std::uint8_t* numbers_of(const std::uint8_t* panel, std::int64_t block) {
  constexpr PanelFormat f = panel_format(kType);
  return panel + panel_block_at(f, kRows, block) + panel_scale_bytes(f, kRows);
}

}  // namespace
}  // namespace tw::kernels
