// Products with palettized weights in panels of 16 rows.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/intrinsics.h"
#include "kernels/avx512/vector.h"
#include "kernels/palette_matmul.h"

namespace tw::kernels {
namespace {

struct PaletteVector : Avx512Vector {
  // 16 sums, the table and the codes, and what is looked up fit the 32 registers.
  static constexpr int kTile = 4, kSums = 4;
  static constexpr const char* kName = "avx512 palettes, panels of 16";
  using Table = __m512;

  static Table table(const std::uint8_t* p) { return _mm512_loadu_ps(p); }
  /// Only the lowest four bits of a lane count: of two bits the table's repetition takes care.
  template <int kBits, int kShift>
  static Floats look_up(Table table, Ints codes) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, kShift), table);
  }
};

}  // namespace

#ifdef TW_EMULATED
namespace emulated {
#endif

void avx512_palette_slots(KernelSlots& slots) {
  fill_palette_slots<PaletteVector>(slots);
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
