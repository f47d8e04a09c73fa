// Palettized weights as bf16 tiles, from panels (panels.h). Everything is internal to the including file.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/bf16_tiles.h"
#include "kernels/args.h"
#include "kernels/panels.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

/// A panel's table as bf16: pairs (k, k + 16) are looked up. With 4 bits the two are joined, with 2 bits an
/// entry is a pair already, its number being both codes.
template <int kBits>
struct PairTable {
  __m512i low, high;

  explicit PairTable(const std::uint8_t* panel) {
    const auto bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(panel)));
    low = _mm512_cvtepu16_epi32(bits);
    high = _mm512_slli_epi32(low, 16);
    if constexpr (kBits == 2) {
      const __m512i second = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
      low = _mm512_or_si512(low, _mm512_permutexvar_epi32(second, high));
    }
  }
  /// Row kRow of those that a vector of codes holds. Only the lowest four bits of a number count.
  template <int kRow>
  __m512i row(__m512i codes) const {
    if constexpr (kBits == 2) return _mm512_permutexvar_epi32(_mm512_srli_epi32(codes, 4 * kRow), low);
    return _mm512_or_si512(_mm512_permutexvar_epi32(_mm512_srli_epi32(codes, 8 * kRow), low),
                           _mm512_permutexvar_epi32(_mm512_srli_epi32(codes, 8 * kRow + 4), high));
  }
};

/// A packed matrix [N, K] by its panels.
template <int kBits>
class PaletteWeights {
 public:
  PaletteWeights(const void* data, std::int64_t, std::int64_t k)
      : data_(static_cast<const std::uint8_t*>(data)), panel_(palette_panel_bytes(kBits, kRows, k)) {}

  /// Blocks [begin, end) of a panel as tiles, made in `room`.
  const std::uint8_t* tiles(std::int64_t panel, std::int64_t begin, std::int64_t end,
                            std::uint8_t* room) const {
    const PairTable<kBits> table(data_ + panel * panel_);
    const std::uint8_t* codes = from(panel, begin);
    std::uint8_t* out = room;
    for (std::int64_t i = 0; i < (end - begin) * kBits; ++i, codes += 64) {
      const __m512i v = _mm512_loadu_si512(codes);
      repeat<16 / kBits>(
          [&](auto row) { _mm512_store_si512(out + 64 * row.value, table.template row<row.value>(v)); });
      out += kTileBytes / kBits;
    }
    return room;
  }
  /// Blocks lie beside each other: `bytes` from `from`.
  static constexpr bool kInOnePiece = true;
  const std::uint8_t* from(std::int64_t panel, std::int64_t begin) const {
    return data_ + panel * panel_ + kPaletteTable + begin * kBlock;
  }
  std::int64_t bytes(std::int64_t begin, std::int64_t end) const { return (end - begin) * kBlock; }

 private:
  static constexpr std::int64_t kBlock = std::int64_t{64} * kBits;
  const std::uint8_t* data_;
  std::int64_t panel_;
};

}  // namespace
}  // namespace tw::kernels
