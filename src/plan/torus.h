// Tori: sizes, links, and what crosses them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/wiring.h"

namespace tw::plan {

/// Each place has a link to both neighbours in every dimension, around the end; in a dimension of two both
/// links go to the same neighbour.
struct Torus {
  std::vector<int> sizes;

  std::int64_t places() const;
  std::string text() const;  ///< "16x16x16"
  /// Links between the halves that a plane across the longest dimension and its wrap-around make.
  double bisection_links() const;
  int diameter() const;
};

/// "16x16x16": one to six sizes.
base::Result<Torus> parse_torus(std::string_view text);

/// Sizes that are multiples of `block`, with the smallest largest one; none when n makes no such torus.
std::optional<Torus> even_torus(std::int64_t n, int dimensions, int block);

Wiring torus_wiring(const Torus& torus, double rate);

}  // namespace tw::plan
