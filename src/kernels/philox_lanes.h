// base::philox for any vector width: V has Words, as many 32-bit numbers as it has lanes. Everything is
// internal to the including file.
#pragma once

#include <cstdint>

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

/// Columns that a counter's four words are apart, so that vectors of up to 16 need no shuffle, and so many
/// columns as share a group of counters.
constexpr std::int64_t kWordsApart = 16, kWordColumns = 4 * kWordsApart;

}  // namespace
}  // namespace tw::kernels
