// What is to be served, and how well. ONE field list (visit) feeds the file, the flags, --help and the docs
// table.
#pragma once

#include <string>

#include "spec/measure.h"

namespace tw::spec {

struct ServeJob {
  std::int64_t input = 0, output = 0;
  std::int64_t concurrency = 0;
  double rate = 0;
  double shortest = 0.8;
  Measure<Dimension::kSeconds> ttft, tpot;
  std::string precision = "bf16";
  std::string stack = "vLLM";
  int tp = 0, pp = 0, ep = 0, batch = 0;
  int step_tokens = 8192;
  double stretch = 0;

  /// Calls v(name, reference to the field, help) for each field.
  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("input", c.input, "tokens of the longest request");
    v("output", c.output, "tokens of the longest answer");
    v("concurrency", c.concurrency, "requests in flight, of the whole cluster; or rate");
    v("rate", c.rate,
      "requests a second, of the whole cluster; or concurrency (default: as many as serve cheapest)");
    v("shortest", c.shortest,
      "lengths are even between this share of the longest and all of it (default: 0.8)");
    v("ttft", c.ttft, "target: mean time to the first token, such as \"500 ms\"");
    v("tpot", c.tpot, "target: mean time between tokens, such as \"30 ms\"");
    v("precision", c.precision, "of weights and products: bf16, fp8 or fp4 (default: bf16)");
    v("stack", c.stack, "software whose measured constants are used (default: vLLM)");
    v("tp", c.tp, "ranks that share each layer (default: what serves best)");
    v("pp", c.pp, "stages of layers (default: what serves best)");
    v("ep", c.ep, "ranks that experts are dealt to (default: what serves best)");
    v("batch", c.batch, "sequences of one instance's step (default: what serves best)");
    v("stretch", c.stretch,
      "how many times longer prompts may make a step of answers in the simulation (default: any; tokenworks "
      "serve: 2)");
    v("step-tokens", c.step_tokens, "most tokens of a step, prompts included (default: 8192)");
  }

  /// The error names the field, its value and its range.
  base::Status validate() const;
};

}  // namespace tw::spec
