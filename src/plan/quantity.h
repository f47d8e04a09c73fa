// A number that says what it is: unit, range and where it comes from.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace tw::plan {

/// From the surest to the least sure; of a computed number it is its inputs' least sure one.
enum class Provenance { kMeasured, kDatasheet, kVendorClaim, kExtrapolated, kAssumed };

std::string_view provenance_name(Provenance provenance);

/// The less sure of two.
constexpr Provenance weaker(Provenance a, Provenance b) {
  return a > b ? a : b;
}

struct Quantity {
  double value = 0;
  double low = 0, high = 0;  ///< range of belief around the value
  std::string unit;
  Provenance provenance = Provenance::kAssumed;

  /// value within a relative spread on both sides.
  static Quantity around(double value, double spread, std::string unit, Provenance provenance);
};

/// By intervals, with the less sure provenance. REQUIRES: nothing is negative; over's divisor's range holds
/// no 0.
Quantity times(const Quantity& a, const Quantity& b, std::string unit);
Quantity over(const Quantity& a, const Quantity& b, std::string unit);
Quantity plus(const Quantity& a, const Quantity& b);

/// {"value", "low", "high", "unit", "provenance"}
base::OrderedJson to_json(const Quantity& quantity);

}  // namespace tw::plan
