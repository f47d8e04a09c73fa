// Measures this machine with the kernels' own benchmarks, at the shapes and numbers of rows that serving and
// training use.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype_enum.h"
#include "plan/machine.h"

namespace tw::plan {

struct CalibrateOptions {
  std::string isa;                 ///< kernel set; empty: the best
  std::vector<int> threads;        ///< numbers of workers; empty: one, and all that the machine allows
  std::vector<base::DType> types;  ///< of weights; empty: usual_types()
  double seconds = 68;             ///< about how long it may take; below 7.5, shapes are small ones alone
  std::function<void(double done)> progress;  ///< 0 to 1; may be empty
  /// Picks the likeliest of logits as an engine does; empty: std::max_element does.
  std::function<void(std::span<float> logits)> pick;
};

/// The weight types that models are served in.
std::vector<base::DType> usual_types();
/// By GGUF's names: "Q4_K"; the error lists the known ones.
base::Result<base::DType> weight_type(std::string_view name);

/// Ops are timed while the machine is as usual; for that, up to as many seconds more may go by.
base::Result<MachineCurves> calibrate(const CalibrateOptions& options);

}  // namespace tw::plan
