// Numbers with units, as people write them: "80 GB", "400 Gb/s", "15 MW", "30 days", "2.5 USD/h".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::spec {

enum class Dimension {
  kCount,  ///< no unit; K, M, B and T may follow: "15.6T"
  kBytes,
  kBytesPerSecond,
  kFlopsPerSecond,
  kWatts,
  kSeconds,
  kUsd,
  kUsdPerHour,
  kUsdPerKwh,
  kGramsPerKwh,
};

/// In bytes, bytes/s, FLOP/s, watts, seconds, USD, USD/h, USD/kWh, g/kWh. A missing unit is an error that
/// shows one.
base::Result<double> parse_measure(Dimension dimension, std::string_view text);

/// A field whose unit must be written.
template <Dimension D>
struct Measure {
  double value = 0;
  bool given = false;  ///< by a file or a flag
};

/// "12.3 GB", "4.56 MW", "1.2 days": three or four digits and the unit that reads best.
std::string measure_text(Dimension dimension, double value);

}  // namespace tw::spec
