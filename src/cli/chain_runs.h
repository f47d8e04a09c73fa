// Steps as `bench` and `train` run them, of models that are there for this alone: what `plan calibrate` finds
// out about what lies between ops.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype_enum.h"
#include "plan/machine_chain.h"

namespace tw::cli {

struct ChainOptions {
  std::string isa;
  std::vector<int> threads;
  std::vector<base::DType> types;  ///< of weights; at most three are run
  double seconds = 20;             ///< about how long it may take; below 2.5, the smallest shapes alone
  std::function<void(double done)> progress;
};

/// Serving with every number of threads, and training with as many as plans are made for. Steps of which the
/// curves lack a type are left out.
base::Result<std::vector<plan::ChainStep>> run_chains(
    const std::shared_ptr<const plan::MachineCurves>& curves, const ChainOptions& options);

}  // namespace tw::cli
