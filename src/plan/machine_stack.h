// Tokenworks itself as the software of plans for a calibrated machine: nothing is fitted, for the curves are
// its own.
#pragma once

#include "plan/serve_validate.h"
#include "plan/validate.h"

namespace tw::plan {

FittedStack machine_training(const MachineCurves& curves);
FittedServing machine_serving(const MachineCurves& curves);

}  // namespace tw::plan
