// Dropout for any vector width: V as in train_rows.h, with Words, as many 32-bit numbers as Floats has.
// Everything is internal to the including file.
#pragma once

#include <cstdint>

#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

/// base::philox of a counter in each lane, all of one key.
template <typename V>
void philox_lanes(typename V::Words (&c)[4], std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    typename V::Words even_high, even_low, odd_high, odd_low;
    V::multiply(c[0], 0xD2511F53U, even_high, even_low);
    V::multiply(c[2], 0xCD9E8D57U, odd_high, odd_low);
    c[0] = V::exclusive_or(odd_high, V::exclusive_or(c[1], V::words(key0)));
    c[1] = odd_low;
    c[2] = V::exclusive_or(even_high, V::exclusive_or(c[3], V::words(key1)));
    c[3] = even_low;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

/// A counter's four words go to columns that are 16 apart, so that vectors of up to 16 need no shuffle.
template <typename V>
void dropout(const DropoutArgs& a) {
  constexpr std::int64_t kApart = 16;
  const typename V::Floats scale = V::all(a.scale);
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t row = t * a.width;
    for (std::int64_t first = 0; first < a.width; first += 4 * kApart) {
      for (std::int64_t lane = 0; lane < kApart && first + lane < a.width; lane += V::kLanes) {
        typename V::Words words[4] = {V::counting(static_cast<std::uint32_t>(first / 4 + lane)),
                                      V::words(a.first_row + static_cast<std::uint32_t>(t)), V::words(a.site),
                                      V::words(a.step)};
        philox_lanes<V>(words, static_cast<std::uint32_t>(a.seed), static_cast<std::uint32_t>(a.seed >> 32));
        for (std::int64_t w = 0; w < 4; ++w) {
          const std::int64_t at = first + w * kApart + lane, left = a.width - at;
          if (left <= 0) break;
          const std::int64_t lanes = left < V::kLanes ? left : V::kLanes;
          const typename V::Floats x = V::mul(V::load(a.x + row + at, lanes), scale);
          const typename V::Floats kept = V::where_at_least(words[w], a.dropped, x);
          const typename V::Floats sum =
              a.add == nullptr ? kept : V::add(V::load(a.add + row + at, lanes), kept);
          V::store(a.out + row + at, sum, lanes);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tw::kernels
