// What `tokenworks train --plan` takes from an answer of `tokenworks plan` about this machine.
#pragma once

#include <functional>
#include <string>

#include "spec/parallel_plan.h"
#include "spec/train_config.h"

namespace tw::cli {

struct TrainPlan {
  std::string file;
  spec::ParallelPlan plan;
  std::string model, precision;          ///< empty: the file does not say
  std::int64_t sequence = 0, batch = 0;  ///< tokens of a sequence, sequences of a step; 0: as above
  std::int64_t steps = 0, parameters = 0;

  /// Sets sequence, batch, micro-batch, recompute, precision and steps of a recipe's stages, and where it
  /// names no shape and no model to start from, the shape of the plan's model. What a flag gave (`given`)
  /// stays. Fails for a shape that the trainer does not make.
  base::Status apply(spec::TrainConfig& config, const std::function<bool(const char* flag)>& given) const;
};

/// Reads what `plan estimate --json` or `plan search --json` printed, or a plan's file (`plan search
/// --save`). Fails for a plan of another machine or of more than one process.
base::Result<TrainPlan> read_train_plan(const std::string& file);

}  // namespace tw::cli
