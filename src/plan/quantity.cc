#include "plan/quantity.h"

#include <utility>

namespace tw::plan {

std::string_view provenance_name(Provenance provenance) {
  static constexpr std::string_view kNames[] = {"measured", "datasheet", "vendor claim", "extrapolated",
                                                "assumed"};
  return kNames[static_cast<int>(provenance)];
}

Quantity Quantity::around(double value, double spread, std::string unit, Provenance provenance) {
  return {value, value * (1 - spread), value * (1 + spread), std::move(unit), provenance};
}

Quantity times(const Quantity& a, const Quantity& b, std::string unit) {
  return {a.value * b.value, a.low * b.low, a.high * b.high, std::move(unit),
          weaker(a.provenance, b.provenance)};
}

Quantity over(const Quantity& a, const Quantity& b, std::string unit) {
  return {a.value / b.value, a.low / b.high, a.high / b.low, std::move(unit),
          weaker(a.provenance, b.provenance)};
}

Quantity plus(const Quantity& a, const Quantity& b) {
  return {a.value + b.value, a.low + b.low, a.high + b.high, a.unit, weaker(a.provenance, b.provenance)};
}

base::OrderedJson to_json(const Quantity& q) {
  return {{"value", q.value},
          {"low", q.low},
          {"high", q.high},
          {"unit", q.unit},
          {"provenance", provenance_name(q.provenance)}};
}

}  // namespace tw::plan
