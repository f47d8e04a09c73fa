#include "plan/machine_stack.h"

#include "plan/machine.h"

namespace tw::plan {
namespace {

/// Waking the workers: what a step takes whatever is in it.
double step_of(const MachineCurves& m) {
  return m.has(Measured::kStep, {}, m.threads) ? m.seconds(Measured::kStep, {}, m.threads, 1, 1, 1) : 0;
}

}  // namespace

FittedStack machine_training(const MachineCurves& m) {
  FittedStack s;
  s.stack = {"Tokenworks", true, 1, false, false};
  s.constants = {1, 1, 1, 0, 0, step_of(m)};
  return s;
}

FittedServing machine_serving(const MachineCurves& m) {
  FittedServing s;
  s.stack = {"Tokenworks", StepPolicy::kMixed, 512, ServeStack::NarrowCache::kNo, 1};
  s.constants = {1, 1, 1, 0, 0, step_of(m)};
  return s;
}

}  // namespace tw::plan
