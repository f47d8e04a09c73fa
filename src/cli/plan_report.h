// How estimates are shown.
#pragma once

#include <string>

#include "base/json.h"
#include "plan/estimate.h"

namespace tw::cli {

/// A figure's number, as short as its size allows.
std::string figure_text(double value);

/// The table of figures, one line each: value, range, unit, provenance and formula, or why there is none.
void print_figures(const std::vector<plan::Figure>& figures);
/// The same for programs.
void print_figures_csv(const std::vector<plan::Figure>& figures);
base::OrderedJson figures_json(const std::vector<plan::Figure>& figures);

/// "8 x A100 SXM 80GB and 8 x H100 SXM".
std::string machines_text(const plan::Setting& setting);

/// A number that was computed, give or take `spread` of it.
plan::Quantity extrapolated(double value, double spread, const char* unit);
/// Of a rank.
plan::Quantity memory_quantity(double bytes);

/// Whose constants a plan was made with.
struct SoftwareLine {
  std::string name;
  int rows = 0;          ///< measured, that they were fitted on; 0: they are the median stack's
  double error = 0;      ///< mean, of these rows
  std::string measured;  ///< the names that have some; empty: they are not listed
};
/// The line that says so; of a calibrated machine, which file its numbers are from.
void print_software(const plan::Accelerator& accelerator, const SoftwareLine& line);
void print_software(const plan::Setting& setting);

void print_estimate(const plan::Setting& setting, const plan::Estimate& estimate);
void print_estimate_csv(const plan::Estimate& estimate);
base::OrderedJson estimate_json(const plan::Setting& setting, const plan::Estimate& estimate);

/// Seconds of a step by what they are spent on, with names.
std::vector<std::pair<const char*, double>> time_parts(const plan::StepTime& time);
/// Bytes by category, with names: of an accelerator, and of the host.
std::vector<std::pair<const char*, double>> memory_parts(const plan::StageMemory& memory);
std::vector<std::pair<const char*, double>> host_parts(const plan::StageMemory& memory);

}  // namespace tw::cli
