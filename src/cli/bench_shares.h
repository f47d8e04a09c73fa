// What share of a machine's measured ceilings a benchmark reached.
#pragma once

#include <string>

namespace tw::cli {

struct CeilingShares {
  double prefill = 0, decode = 0;  ///< 1: as fast as the ceiling
  bool speculated = false;         ///< several tokens may have come from one reading of the weights

  /// Nothing is faster than its own ceiling: something else used the machine while that was measured.
  bool disturbed() const { return prefill > 1 || (decode > 1 && !speculated); }
  /// Empty, or the line that says so.
  std::string warning() const {
    if (!disturbed()) return {};
    return "more than 100 %: the ceiling was measured while something else used this machine; run again on "
           "a quiet machine";
  }
};

}  // namespace tw::cli
