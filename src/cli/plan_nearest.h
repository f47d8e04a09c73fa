// What is named in place of a training plan that does not work: it was tried.
#pragma once

#include <string>

#include "base/team.h"
#include "plan/estimate.h"

namespace tw::cli {

/// For a plan that does not fit: "; the nearest plan that fits: ...", or another plan, or number of
/// accelerators, that does.
std::string nearest_that_fits(const plan::Setting& setting, const spec::ParallelPlan& plan);
/// For a plan that does not divide model, batch or accelerators: "; the nearest plan that works: ...", which
/// was tried and fits, or what nearest_that_fits would say. Empty where another place says it (two kinds,
/// this machine) and where `why` the plan does not work is so of all plans.
std::string nearest_that_works(const plan::Setting& setting, spec::ParallelPlan wanted,
                               const base::Error& why);
/// For a setting in which no plan fits: "; the nearest number of accelerators that fits: 96, as dp ...", by
/// searches with more and more of them. Empty of two kinds and of this machine.
std::string nearest_number(const plan::Setting& setting, base::Team& team);

}  // namespace tw::cli
