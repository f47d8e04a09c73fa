// Products with palettized weights in panels of 8 rows.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vector.h"
#include "kernels/palette_matmul.h"

namespace tw::kernels {
namespace {

struct PaletteVector : Avx2Vector {
  // 8 sums, the table, the codes, and what is looked up fit the 16 registers.
  static constexpr int kTile = 4, kSums = 2;
  static constexpr const char* kName = "avx2 palettes, panels of 8";
  struct Table {
    __m256 low, high;  ///< entries 0 to 7, and 8 to 15
  };

  static Table table(const std::uint8_t* p) {
    const auto* entries = reinterpret_cast<const float*>(p);
    return {_mm256_loadu_ps(entries), _mm256_loadu_ps(entries + 8)};
  }
  /// A look-up takes three bits of a lane: of two the table's repetition takes care, of four the highest
  /// chooses.
  template <int kBits, int kShift>
  static Floats look_up(const Table& table, Ints codes) {
    const __m256i number = _mm256_srli_epi32(codes, kShift);
    const __m256 low = _mm256_permutevar8x32_ps(table.low, number);
    if constexpr (kBits == 2) return low;
    const __m256 high = _mm256_permutevar8x32_ps(table.high, number);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28 - kShift)));
  }
};

}  // namespace

void avx2_palette_slots(KernelSlots& slots) {
  fill_palette_slots<PaletteVector>(slots);
}

}  // namespace tw::kernels
