// What lies between the ops of a step, found from whole steps as they really run: short chains of layers, of
// models and training that exist for this alone. Ops that are timed by themselves miss it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plan/machine.h"

namespace tw::plan {

/// A step that was timed, and what the curves make of it.
struct ChainStep {
  std::string what;  ///< "Q8_0, 2 layers of 96, 2 threads: 6 rows"
  StepKind kind = StepKind::kGenerated;
  int threads = 1;
  double seconds = 0;                     ///< measured
  double ops = 0;                         ///< seconds of its ops by themselves and of waking the workers
  double hosts = 1, gaps = 0, bytes = 0;  ///< how often each of Between's numbers is in it

  double predicted(const Between& b) const { return ops + hosts * b.host + gaps * b.gap + bytes * b.byte; }
};

/// Seconds of a step by the curves it is given.
using StepSeconds = std::function<base::Result<double>(const MachineCurves& curves)>;

/// Takes the step's sum apart by asking for it with one of Between's numbers at a time, so that there is no
/// second list of ops. REQUIRES: `predict` is linear in them. Fails as `predict` does.
base::Result<ChainStep> chain_step(std::string what, StepKind kind, int threads, double seconds,
                                   const MachineCurves& curves, const StepSeconds& predict);

/// The numbers, none below 0, with which the steps' relative errors are small: their squares, or of large
/// ones the errors themselves.
Between fit_between(const std::vector<ChainStep>& steps);

/// Fits each kind and number of threads by itself, on its own steps, and puts the result into `curves`.
void set_between(const std::vector<ChainStep>& steps, MachineCurves& curves);

}  // namespace tw::plan
