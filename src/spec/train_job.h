// What is to be trained on, and how. ONE field list (visit) feeds the file, the flags, --help and the docs
// table.
#pragma once

#include <string>

#include "spec/measure.h"

namespace tw::spec {

struct TrainJob {
  Measure<Dimension::kCount> tokens;
  Measure<Dimension::kCount> steps;
  std::int64_t batch = 0;  ///< sequences of a step
  std::int64_t sequence = 4096;
  std::string precision = "bf16";
  std::string recompute;       ///< empty: the plan's, or what search finds
  double expert_capacity = 0;  ///< as ModelConfig's; 0: no token is dropped
  std::string stack;           ///< empty: the usual one of the accelerator

  /// Calls v(name, reference to the field, help) for each field.
  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("tokens", c.tokens, "to train on in all, such as 15.6T; or steps");
    v("steps", c.steps, "to train for; or tokens");
    v("batch", c.batch, "sequences of a step");
    v("sequence", c.sequence, "tokens of a sequence (default: 4096)");
    v("precision", c.precision, "of the products: bf16, fp8 or fp4 (default: bf16)");
    v("recompute", c.recompute,
      "what backward computes again: none, selective or full (default: the plan's)");
    v("expert-capacity", c.expert_capacity,
      "times its even share of tokens that an expert takes; the rest is dropped (default: none is)");
    v("stack", c.stack, "software whose measured constants are used (default: the accelerator's usual one)");
  }

  /// The error names the field, its value and its range.
  base::Status validate() const;
  /// Steps of the whole run. REQUIRES: validate() is ok.
  double total_steps() const;
};

}  // namespace tw::spec
