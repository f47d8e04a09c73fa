// Dropout for any vector width: V as in train_rows.h, with Words, as many 32-bit numbers as Floats has.
// Everything is internal to the including file.
#pragma once

#include <cstdint>

#include "kernels/philox_lanes.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

template <typename V>
void dropout(const DropoutArgs& a) {
  const typename V::Floats scale = V::all(a.scale);
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const std::int64_t row = t * a.width;
    for (std::int64_t first = 0; first < a.width; first += kWordColumns) {
      for (std::int64_t lane = 0; lane < kWordsApart && first + lane < a.width; lane += V::kLanes) {
        typename V::Words words[4] = {V::counting(static_cast<std::uint32_t>(first / 4 + lane)),
                                      V::words(a.first_row + static_cast<std::uint32_t>(t)), V::words(a.site),
                                      V::words(a.step)};
        philox_lanes<V>(words, static_cast<std::uint32_t>(a.seed), static_cast<std::uint32_t>(a.seed >> 32));
        for (std::int64_t w = 0; w < 4; ++w) {
          const std::int64_t at = first + w * kWordsApart + lane, left = a.width - at;
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
