// What the trade press said, recomputed. A claim is a file: inputs, arithmetic, and the ranges in which its
// numbers must lie.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "plan/quantity.h"

namespace tw::plan {

enum class Verdict { kConsistent, kNeedsAssumption, kContradicted };
std::string_view verdict_name(Verdict verdict);

/// An input, an assumption or a step.
struct ClaimNumber {
  std::string name;
  std::string formula;  ///< as written: "90 days"
  std::string range;    ///< as written, of an input or an assumption that has one: "5 min to 20 min"
  std::string note;     ///< what it is of, in words
  Quantity quantity;
};

/// How a number lies to what is wanted of it.
enum class Fit {
  kWholly,   ///< over all of its range
  kByValue,  ///< its value does; its range goes beyond
  kByRange,  ///< its value does not, but its range holds some that do: it is not contradicted
  kNot,
};
std::string_view fit_name(Fit fit);

/// A number that must lie between two others: outside them the claim is contradicted; inside them, with
/// `needs`, the claim needs that assumption.
struct ClaimCheck {
  std::string text, needs, by;
  Quantity quantity;
  double wanted_low = 0, wanted_high = 0;  ///< in the quantity's unit
  Fit fit = Fit::kWholly;
  Verdict verdict = Verdict::kConsistent;
};

struct ClaimResult {
  std::string file, claim, source;
  std::vector<ClaimNumber> inputs, assumptions, steps;
  std::vector<ClaimCheck> checks;
  Verdict verdict = Verdict::kConsistent;  ///< the worst check's
  std::string reason;  ///< the assumption, what contradicts it, or that only a range makes it consistent
};

/// Recomputes a claim. Its file has: claim, source, models {alias: preset}, units {name: unit} of inputs and
/// assumptions, inputs and assume {name: number, "15 MW", or {value, low, high, provenance, note}}, steps
/// [[name, formula, unit, note]], checks [{text, value, unit, low, high, by, needs}]. A check's unit is that
/// of the number that it looks at, or "1". Formulas see inputs, assumptions, earlier steps, the catalogue
/// (H100.bf16_dense_tflops, with its range), models (alias.parameters, alias.active, alias.flops_per_token),
/// goodput(nodes, failures, checkpoint seconds, restart seconds) and fat_tree(tiers, leaf ports, spine
/// ports), the endpoints that it reaches. Inputs are points unless they say a range; what is computed has the
/// range and the provenance that its formula makes of theirs (expression.h).
/// Errors name the file, the line and the field.
base::Result<ClaimResult> check_claim(const std::string& file, std::string_view json);

/// For people: the verdict, the arithmetic, the checks. Ranges are there where a number is no point.
std::string claim_text(const ClaimResult& claim);
/// {file, claim, source, verdict, reason, numbers {name: {formula, note, value, low, high, unit,
/// provenance}}, checks [{text, value, low, high, unit, provenance, wanted_low, wanted_high, within, needs,
/// by, verdict}]}
base::OrderedJson claim_json(const ClaimResult& claim);

}  // namespace tw::plan
