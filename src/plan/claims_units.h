// How the numbers of a claim are written: units that must be there, ranges and where they come from.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "plan/quantity.h"
#include "spec/measure.h"

namespace tw::plan {

/// What a number of a claim is counted in.
struct ClaimUnit {
  std::string name = "1";                    ///< "days", "TFLOP/s", "accelerators", "x"; 1: a pure number
  std::optional<spec::Dimension> dimension;  ///< none: things that are counted, or a unit of one's own
  double factor = 1;                         ///< of `name`, in the dimension's base unit
  /// A number without it cannot be mistaken: counted things, and pure numbers.
  bool may_be_left_out() const;
};

/// A unit is one word. The error says where words about a number belong.
base::Result<ClaimUnit> parse_claim_unit(std::string_view text);

/// Whether both are units of one dimension, and not the same.
bool differ_by_a_factor(std::string_view from, std::string_view to);

/// Of an input for which the file declares none: by the text ("90 days" is in s), or by the last word of the
/// name ("power", "time_to_wait"), which needs a unit then.
ClaimUnit unit_of_input(const std::string& name, const base::OrderedJson& value);

/// A number in `unit`, or an object {value, low, high, provenance, note}. Without low and high it is a point,
/// without provenance it is `provenance`. The error says what is wanted.
base::Result<Quantity> read_claim_number(const base::OrderedJson& value, const ClaimUnit& unit,
                                         Provenance provenance);

}  // namespace tw::plan
