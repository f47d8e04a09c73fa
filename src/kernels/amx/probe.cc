// Multiplying from tile registers, in bf16 and in int8.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/int8_tiles.h"
#include "kernels/amx/tiles.h"

namespace tw::kernels {
namespace {

constexpr int kTileBytes = 1024;
constexpr double kTileProducts = 16.0 * 16;  // sums of a tile

/// Sum of the tiles 0 to 3, whose lanes `to_floats` reads.
template <typename F>
double sum_tiles(F to_floats) {
  alignas(64) std::uint8_t tiles[4 * kTileBytes];
  tile_store<0>(tiles, 64);
  tile_store<1>(tiles + kTileBytes, 64);
  tile_store<2>(tiles + 2 * kTileBytes, 64);
  tile_store<3>(tiles + 3 * kTileBytes, 64);
  double total = 0;
  for (int at = 0; at < 4 * kTileBytes; at += 64)
    total += _mm512_reduce_add_ps(to_floats(_mm512_load_si512(tiles + at)));
  return total;
}

/// Two tiles of each factor from `data`, and four sums at zero.
void begin(const std::uint8_t* data) {
  tile_load<4>(data, 64);
  tile_load<5>(data, 0);  // every row is the first one: another factor, without more memory
  tile_load<6>(data, 64);
  tile_load<7>(data + kTileBytes / 2, 0);
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
}

PeakResult peak_bf16(const PeakArgs& a) {
  alignas(64) std::uint16_t data[kTileBytes / 2];
  for (int i = 0; i < kTileBytes / 2; i += 16) {
    const __m512 v = _mm512_load_ps(a.values + i % (kPeakBytes / 4));
    _mm256_store_si256(reinterpret_cast<__m256i*>(data + i),
                       reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
  }
  begin(reinterpret_cast<const std::uint8_t*>(data));
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    tile_dot_bf16<0, 4, 6>();
    tile_dot_bf16<1, 4, 7>();
    tile_dot_bf16<2, 5, 6>();
    tile_dot_bf16<3, 5, 7>();
  }
  return {"amx bf16 tiles", 4 * kTileProducts * 32 * 2 * static_cast<double>(a.rounds),
          sum_tiles([](__m512i v) { return _mm512_castsi512_ps(v); })};
}

PeakResult peak_int8(const PeakArgs& a) {
  begin(a.data);
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    tile_dot_ss<0, 4, 6>();
    tile_dot_ss<1, 4, 7>();
    tile_dot_ss<2, 5, 6>();
    tile_dot_ss<3, 5, 7>();
  }
  return {"amx int8 tiles", 4 * kTileProducts * 64 * 2 * static_cast<double>(a.rounds),
          sum_tiles([](__m512i v) { return _mm512_cvtepi32_ps(v); })};
}

PeakResult peak(const PeakArgs& a) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  if (a.way == 0) return peak_bf16(a);
  if (a.way == 1) return peak_int8(a);
  return {nullptr, 0, 0};
}

}  // namespace

void amx_probe_slots(KernelSlots& slots) {
  slots.peak = peak;
}

}  // namespace tw::kernels
