// What the trade press said, recomputed. A claim is a file: inputs, arithmetic, and the ranges in which its
// numbers must lie.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::plan {

enum class Verdict { kConsistent, kNeedsAssumption, kContradicted };
std::string_view verdict_name(Verdict verdict);

struct ClaimStep {
  std::string name, formula, unit;
  double value = 0;
};

/// A number that must lie in a range: outside it the claim is contradicted; inside it, with `needs`, the
/// claim needs that assumption.
struct ClaimCheck {
  std::string text, needs, by;
  double value = 0, low = 0, high = 0;
  Verdict verdict = Verdict::kConsistent;
};

struct ClaimResult {
  std::string file, claim, source;
  std::vector<ClaimStep> inputs, assumptions, steps;
  std::vector<ClaimCheck> checks;
  Verdict verdict = Verdict::kConsistent;  ///< the worst check's
  std::string reason;                      ///< the assumption, or what contradicts it
};

/// Recomputes a claim. Its file has: claim, source, models {alias: preset}, inputs and assume {name: number
/// or "15 MW"}, steps [[name, formula, unit]], checks [{text, value, low, high, by, needs}]. Formulas see
/// inputs, assumptions, earlier steps, the catalogue (H100.bf16_dense_tflops), models (alias.parameters,
/// alias.active, alias.flops_per_token), goodput(nodes, failures, checkpoint seconds, restart seconds) and
/// fat_tree(tiers, leaf ports, spine ports), the endpoints that it reaches.
/// Errors name the file and the field.
base::Result<ClaimResult> check_claim(const std::string& file, std::string_view json);

/// For people: the verdict, the arithmetic, the checks.
std::string claim_text(const ClaimResult& claim);
base::OrderedJson claim_json(const ClaimResult& claim);

}  // namespace tw::plan
