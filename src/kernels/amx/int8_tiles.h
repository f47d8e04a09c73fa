// Products of byte tiles (see tiles.h for why by inline assembly): kC[m, n] += sum over k of kA[m, k] * kB[k,
// n] in int32, where a row of kB holds four k of each n.
#pragma once

namespace tw::kernels {
namespace {

/// Signed times signed.
template <int kC, int kA, int kB>
inline void tile_dot_ss() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
/// Signed times unsigned.
template <int kC, int kA, int kB>
inline void tile_dot_su() {
  __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace tw::kernels
