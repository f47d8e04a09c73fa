// Quantized weights as bf16 tiles, from panels (panels.h). Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/panel_numbers.h"

namespace tw::kernels {
namespace {

/// Rounds to nearest and joins: `even` in the low halves, `odd` in the high ones.
__m512i join(__m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i low = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), 16);
  return _mm512_mask_blend_epi16(0xAAAAAAAA, low, _mm512_add_epi32(_mm512_castps_si512(odd), half));
}

/// Byte i of each 32-bit lane as a number.
template <int kByte>
__m512 byte_of(__m512i v) {
  const __m512i place = _mm512_set1_epi32(static_cast<int>(0x80808000U) | kByte);
  const __m512i lanes = _mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0);
  return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(v, _mm512_or_si512(place, lanes)));
}

/// Rows 4j + kByte of a tile, for the byte of that number in each lane of a nibble vector.
template <int kByte>
__m512i nibble_row(__m512i v, __m512 floats, const Scales& s) {
  // Only the lowest four bits of an index count.
  const __m512 low = _mm512_permutexvar_ps(_mm512_srli_epi32(v, 8 * kByte), floats);
  const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(v, 8 * kByte + 4), floats);
  return join(_mm512_fmadd_ps(low, s.scale[0], s.minimum[0]),
              _mm512_fmadd_ps(high, s.scale[1], s.minimum[1]));
}
template <int kByte>
__m512i byte_row(__m512i low, __m512i high, const Scales& s) {
  return join(_mm512_fmadd_ps(byte_of<kByte>(low), s.scale[0], s.minimum[0]),
              _mm512_fmadd_ps(byte_of<kByte>(high), s.scale[1], s.minimum[1]));
}

/// One block's weights as a tile.
template <DType kType>
void dequantize_block(const std::uint8_t* p, const Scales& s, std::uint8_t* tile) {
  constexpr PanelFormat f = panel_format(kType);
  const __m512 floats = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  repeat<4>([&](auto j) {
    __m512i* out = reinterpret_cast<__m512i*>(tile + j.value * 256);
    if constexpr (f.bits != 4) {
      const __m512i v = number_bytes<kType, j.value>(p), w = number_bytes<kType, j.value + 4>(p);
      out[0] = byte_row<0>(v, w, s);
      out[1] = byte_row<1>(v, w, s);
      out[2] = byte_row<2>(v, w, s);
      out[3] = byte_row<3>(v, w, s);
    } else {
      const __m512i v = _mm512_loadu_si512(p + j.value * 64);
      out[0] = nibble_row<0>(v, floats, s);
      out[1] = nibble_row<1>(v, floats, s);
      out[2] = nibble_row<2>(v, floats, s);
      out[3] = nibble_row<3>(v, floats, s);
    }
  });
}

/// Blocks [begin, end) of a panel as tiles.
template <DType kType>
void dequantize(const std::uint8_t* panel, std::int64_t begin, std::int64_t end, std::uint8_t* tiles) {
  for (std::int64_t block = begin; block < end; ++block, tiles += kTileBytes)
    dequantize_block<kType>(numbers_of<kType>(panel, block), scales_of<kType>(panel, block), tiles);
}

/// A packed matrix [N, K] by its panels.
template <DType kType>
class PanelWeights {
 public:
  PanelWeights(const void* data, std::int64_t, std::int64_t k)
      : data_(static_cast<const std::uint8_t*>(data)),
        bytes_(panel_bytes(panel_format(kType), kRows, k)),
        blocks_(k / kPanelBlock) {}

  /// Blocks [begin, end) of a panel as tiles, made in `room`.
  const std::uint8_t* tiles(std::int64_t panel, std::int64_t begin, std::int64_t end,
                            std::uint8_t* room) const {
    dequantize<kType>(data_ + panel * bytes_, begin, end, room);
    return room;
  }
  /// Blocks lie beside each other: `bytes` from `from`.
  static constexpr bool kInOnePiece = true;
  const std::uint8_t* from(std::int64_t panel, std::int64_t begin) const {
    return data_ + panel * bytes_ + bytes_ * begin / blocks_;
  }
  std::int64_t bytes(std::int64_t begin, std::int64_t end) const { return bytes_ * (end - begin) / blocks_; }

 private:
  const std::uint8_t* data_;
  std::int64_t bytes_, blocks_;
};

}  // namespace
}  // namespace tw::kernels
