#include "plan/machine_stack.h"

#include "plan/machine_step.h"

namespace tw::plan {

FittedStack machine_training(const MachineCurves& m) {
  FittedStack s;
  s.stack = {"Tokenworks", true, 1, false, false};
  s.constants = {1, 1, 1, 0, 0, machine_host_seconds(m, StepKind::kTrain, m.threads)};
  return s;
}

FittedServing machine_serving(const MachineCurves& m) {
  FittedServing s;
  s.stack = {"Tokenworks", StepPolicy::kMixed, 512, ServeStack::NarrowCache::kNo, 1};
  s.constants = {1, 1, 1, 0, 0, machine_host_seconds(m, StepKind::kGenerated, m.threads)};
  return s;
}

}  // namespace tw::plan
