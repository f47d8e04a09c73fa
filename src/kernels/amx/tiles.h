// Tile registers by inline assembly: g++ 12's _tile_loadconfig takes 8 of its 64 bytes for input, and its
// _tile_loadd does not say that it reads memory, so that stores to what it loads may come too late.
#pragma once

#include <cstdint>

namespace tw::kernels {
namespace {

/// What LDTILECFG reads (Intel SDM volume 1, 18.3): palette 1, eight tiles of up to 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

inline TileConfig whole_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = 64;
    config.rows[tile] = 16;
  }
  return config;
}

/// Sets this thread's tiles up, and gives them back at the end of a scope: a thread that has none live costs
/// the system nothing to switch.
class TileScope {
 public:
  explicit TileScope(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" ::"m"(config)); }
  ~TileScope() { __asm__ volatile("tilerelease" ::); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

template <int kTile>
inline void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
/// Rows of 64 bytes, `stride` bytes apart.
template <int kTile>
inline void tile_load(const void* base, std::int64_t stride) {
  __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kTile), "r"(base), "r"(stride) : "memory");
}
/// The same of data that comes from the second cache and need not stay in the first.
template <int kTile>
inline void tile_load_passing(const void* base, std::int64_t stride) {
  __asm__ volatile("tileloaddt1 (%1,%2,1), %%tmm%c0" ::"i"(kTile), "r"(base), "r"(stride) : "memory");
}
template <int kTile>
inline void tile_store(void* base, std::int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(kTile), "r"(base), "r"(stride) : "memory");
}
/// kC[m, n] += sum over k of kA[m, k] * kB[k, n] in bf16 pairs.
template <int kC, int kA, int kB>
inline void tile_dot_bf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace tw::kernels
