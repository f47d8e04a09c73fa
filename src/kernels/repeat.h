// Loops that the compiler takes apart. Everything is internal to the including file.
#pragma once

namespace tw::kernels {
namespace {

#define TW_INLINE [[gnu::always_inline]] inline

/// f(0), f(1), ... f(kCount - 1), each with its own code: arrays that they index stay in registers.
template <int kIndex>
struct Index {
  static constexpr int value = kIndex;
};
template <int kCount, typename F>
TW_INLINE void repeat(const F& f) {
  if constexpr (kCount > 0) {
    repeat<kCount - 1>(f);
    f(Index<kCount - 1>{});
  }
}

}  // namespace
}  // namespace tw::kernels
