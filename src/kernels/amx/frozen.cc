// Columns of weights that are not learnt as right sides of TrainMatmul's products, from rows as they lie: a
// row of a tile is two rows of the weight put together.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/bf16_rows.h"

namespace tw::kernels {
namespace {

/// Up to 16 numbers as bf16 in the low halves of lanes, `left` of them there.
template <DType kType>
__m512i bf16_numbers(const std::uint8_t* p, std::int64_t left) {
  const auto* halves = reinterpret_cast<const std::uint16_t*>(p);
  if constexpr (kType == DType::kBF16) {
    return _mm512_cvtepu16_epi32(load_numbers(halves, left));
  } else {
    __m512 values;
    if constexpr (kType == DType::kF16)
      values = _mm512_cvtph_ps(load_numbers(halves, left));
    else
      values = _mm512_maskz_loadu_ps(lanes(left), p);
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
  }
}

template <DType kType>
void make_side_of(const FrozenSideArgs& a) {
  constexpr std::int64_t kBytes = kType == DType::kF32 ? 4 : 2;
  const std::int64_t blocks = blocks_of(a.n);
  const auto numbers = [&](std::int64_t row, std::int64_t column) {
    const auto* p =
        static_cast<const std::uint8_t*>(a.rows) + ((row - a.row_begin) * a.stride + column) * kBytes;
    return row < a.row_end ? bf16_numbers<kType>(p, a.columns - column) : _mm512_setzero_si512();
  };
  for (std::int64_t row = a.row_begin; row < a.row_end; row += kPanelBlock) {
    for (std::int64_t column = 0; column < a.columns; column += kRows) {
      auto* tile =
          static_cast<std::uint8_t*>(a.out) + (column / kRows * blocks + row / kPanelBlock) * kTileBytes;
      for (std::int64_t i = 0; i < kRows; ++i) {
        const __m512i high = _mm512_slli_epi32(numbers(row + kRows + i, column), 16);
        _mm512_store_si512(tile + i * 64, _mm512_or_si512(numbers(row + i, column), high));
      }
    }
  }
}

void make_frozen_side(const FrozenSideArgs& a) {
  if (a.type == DType::kBF16) return make_side_of<DType::kBF16>(a);
  if (a.type == DType::kF16) return make_side_of<DType::kF16>(a);
  make_side_of<DType::kF32>(a);
}

}  // namespace

void amx_frozen_slots(KernelSlots& slots) {
  slots.frozen_side = make_frozen_side;
}

}  // namespace tw::kernels
